"""Dilated convolutions of several groups in graphs: one operation instead of three.

TensorFlow writes such a convolution as a function that deals positions out to a larger batch, convolves, and puts them back.
Converters take the number of groups from the channels of what the convolution reads, and do not see them behind the dealing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_editing import GraphEditor, node_name
from keras_compress.export.inline_calls import inline_calls
from keras_compress.export.quantized_constants import FAKE_QUANTIZERS
from keras_compress.export.shape_arithmetic import computed_integers

__all__ = ["write_dilated_groups"]

_DEAL, _COLLECT = "SpaceToBatchND", "BatchToSpaceND"
#: Axes of positions.
_CONVOLUTIONS = {"Conv2D": 2, "Conv3D": 3}

#: Sizes put in the place of open ones. The dealing pads to multiples of the dilation, and the collecting takes that away again.
_PROBES = ((2, 30, 31, 37, 32), (3, 41, 44, 43, 47))


def write_dilated_groups(graph_def: tf.compat.v1.GraphDef) -> None:
    """Turn ``collect(conv(deal(x)))`` in the functions that a graph calls into one convolution with a dilation, in place.

    Args:
        graph_def: a frozen graph.
    """
    called = {node.attr["f"].func.name for node in graph_def.node if node.op.endswith("PartitionedCall")}
    bodies = [function for function in graph_def.library.function if function.signature.name in called]
    if not any(node.op == _DEAL for function in bodies for node in function.node_def):
        return
    inline_calls(graph_def)
    editor = GraphEditor(graph_def)
    readers = editor.readers()
    for deal in [node for node in graph_def.node if node.op == _DEAL]:
        chain = _chain(deal, readers)
        if chain is not None:
            _join(editor, deal, *chain)


def _chain(deal: Any, readers: dict[str, list[Any]]) -> tuple[Any, Any] | None:
    """Return the convolution that reads dealt positions, and what collects its result; nothing else may read either."""
    found, node = None, deal
    while len(readers[node.name]) == 1:
        node = readers[node.name][0]
        if node.op == _COLLECT:
            return None if found is None else (found, node)
        if node.op in _CONVOLUTIONS and found is None:
            found = node
        elif node.op not in ("ExpandDims", "Squeeze", "Identity"):
            return None
    return None


def _join(editor: GraphEditor, deal: Any, convolution: Any, collect: Any) -> None:
    found, other = (_block_and_padding(editor, deal, collect, sizes) for sizes in _PROBES)
    if found is None or found != other or convolution.attr["padding"].s != b"VALID":
        return
    block, padding = found
    axes = _CONVOLUTIONS[convolution.op]
    missing = axes - len(block)  # axes of one position, in front of the others
    dilations = [*[1] * missing, *block]
    pads = [*[(0, 0)] * missing, *padding]
    first = 2 if convolution.attr["data_format"].s.startswith(b"NC") else 1
    rest = 2 - first
    convolution.attr["dilations"].list.i[:] = [*[1] * first, *dilations, *[1] * rest]
    kernel = _kernel(editor, convolution, axes)
    if kernel is not None and pads == [
        _both_sides((size - 1) * step) for size, step in zip(kernel, dilations, strict=True)
    ]:
        convolution.attr["padding"].s = b"SAME"
    elif any(map(any, padding)):
        convolution.attr["padding"].s = b"EXPLICIT"
        sides = [side for pair in [*[(0, 0)] * first, *pads, *[(0, 0)] * rest] for side in pair]
        convolution.attr["explicit_paddings"].list.i[:] = sides
    editor.redirect(deal.name, deal.input[0])
    editor.redirect(collect.name, collect.input[0])


def _block_and_padding(
    editor: GraphEditor, deal: Any, collect: Any, sizes: tuple[int, ...]
) -> tuple[list[int], list[tuple[int, int]]] | None:
    """Return the dilation and the padding of what dealing and collecting do to a tensor of these sizes, None if not known."""
    source = editor.producer(deal, 0)
    known = {
        node.name: np.array(sizes)
        for node in editor.nodes.values()
        if node.op == "Shape" and editor.producer(node, 0) is source
    }
    numbers = [
        computed_integers(editor, node_name(node.input[index]), known) for node in (deal, collect) for index in (1, 2)
    ]
    if any(values is None for values in numbers):
        return None
    block, paddings, block_behind, crops = numbers
    padding = np.asarray(paddings) - np.asarray(crops)
    if not np.array_equal(block, block_behind) or (padding < 0).any():
        return None
    return list(map(int, block)), [(int(before), int(behind)) for before, behind in padding]


def _both_sides(padding: int) -> tuple[int, int]:
    return padding // 2, padding - padding // 2


def _kernel(editor: GraphEditor, convolution: Any, axes: int) -> list[int] | None:
    """Return the positions of the kernel of a convolution along each axis, None if it is not constant."""
    node = editor.producer(convolution, 1)
    while node.op in (*FAKE_QUANTIZERS, "ExpandDims"):
        node = editor.producer(node, 0)
    if node.op != "Const":
        return None
    sizes = [dimension.size for dimension in node.attr["value"].tensor.tensor_shape.dim[:-2]]
    return [*[1] * (axes - len(sizes)), *sizes]
