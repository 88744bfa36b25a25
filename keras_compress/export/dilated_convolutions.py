"""Dilated convolutions written as one operation each.

TensorFlow computes a dilated convolution by moving places into the batch, convolving, and moving them back. Converters to other
formats compute the three one by one, often in floats, or do not see of how many groups the convolution is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_editing import GraphEditor, node_name, shapes_in
from keras_compress.export.inline_calls import inline_calls
from keras_compress.export.shape_arithmetic import computed_integers
from keras_compress.safe_mode import called_functions

__all__ = ["dilated_convolutions"]

_BEGIN, _END = "SpaceToBatchND", "BatchToSpaceND"
#: Axes of places, by operation.
_CONVOLUTIONS = {"Conv2D": 2, "DepthwiseConv2dNative": 2, "Conv3D": 3}
#: Sizes put in the place of open ones, by axis. What is the same for all of them depends on no size.
_TRIALS = ((2, 30, 31, 37, 32), (3, 31, 32, 38, 33), (5, 44, 48, 41, 53))


def dilated_convolutions(graph_def: tf.compat.v1.GraphDef) -> None:
    """Join every convolution with the moves of places into the batch before it and back behind it, in place.

    Functions that a graph calls are replaced by what they do if there are such moves in them. A convolution stays as it is if
    its margins depend on the sizes of the inputs.

    Args:
        graph_def: a frozen graph.
    """
    if _moves_in_functions(graph_def):
        inline_calls(graph_def)
    editor = GraphEditor(graph_def)
    readers = editor.readers()
    ends = [node for node in graph_def.node if node.op == _END]
    found = [parts for end in ends if (parts := _parts(editor, readers, end)) is not None]
    if not found:
        return
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    shape_of = shapes_in(graph)
    shapes = [shape_of(parts.begin.input[0]) for parts in found]
    kernels = [shape_of(parts.convolution.input[1]) for parts in found]
    moves = [_moves(editor, shape, parts) for shape, parts in zip(shapes, found, strict=True)]
    for parts, shape, kernel, known in zip(found, shapes, kernels, moves, strict=True):
        if known is not None and len(known[0]) <= parts.axes:
            _join(editor, shape, kernel, parts, *known)


def _moves_in_functions(graph_def: Any) -> bool:
    functions = {function.signature.name: function for function in graph_def.library.function}
    called = called_functions(graph_def.node, functions)
    return any(node.op == _END for name in called for node in functions[name].node_def)


@dataclass(frozen=True)
class _Parts:
    """What computes one dilated convolution.

    Attributes:
        begin: the move into the batch.
        convolution: the convolution.
        end: the move out of the batch.
        expanded: whether the convolution has an axis of one place more, in front of the others.
    """

    begin: Any
    convolution: Any
    end: Any
    expanded: bool

    @property
    def axes(self) -> int:
        """Of places, before one is added."""
        return _CONVOLUTIONS[self.convolution.op] - self.expanded


def _parts(editor: GraphEditor, readers: dict[str, list[Any]], end: Any) -> _Parts | None:
    """Return what is moved out of the batch at ``end``, None if it is no convolution or something else reads a part of it."""
    squeeze, expand = None, None
    convolution = editor.producer(end)
    if convolution.op == "Squeeze":
        squeeze, convolution = convolution, editor.producer(convolution)
    if convolution.op not in _CONVOLUTIONS or not _is_plain(convolution):
        return None
    begin = editor.producer(convolution)
    if begin.op == "ExpandDims":
        expand, begin = begin, editor.producer(begin)
    if begin.op != _BEGIN or not _adds_the_first_axis(editor, expand, squeeze, _CONVOLUTIONS[convolution.op]):
        return None
    return _Parts(begin, convolution, end, expand is not None) if _is_chain(editor, readers, begin, end) else None


def _is_plain(convolution: Any) -> bool:
    """Whether a convolution has channels behind, and neither margins nor strides nor a dilation of its own."""
    steps = (*convolution.attr["strides"].list.i, *convolution.attr["dilations"].list.i)
    channels_behind = convolution.attr["data_format"].s in (b"NHWC", b"NDHWC", b"")
    return channels_behind and convolution.attr["padding"].s == b"VALID" and set(steps) == {1}


def _adds_the_first_axis(editor: GraphEditor, expand: Any | None, squeeze: Any | None, axes: int) -> bool:
    """Whether the first axis of places is added before a convolution and taken away behind it, or neither."""
    if expand is None or squeeze is None:
        return expand is squeeze
    added, removed = editor.constant(expand, 1), list(squeeze.attr["squeeze_dims"].list.i)
    return added is not None and len(removed) == 1 and {int(added), *removed} <= {1, 1 - (axes + 2)}


def _is_chain(editor: GraphEditor, readers: dict[str, list[Any]], begin: Any, end: Any) -> bool:
    """Whether nothing but the next node reads what is made on the way from one node to another."""
    node = end
    while node is not begin:
        node = editor.nodes[node_name(node.input[0])]
        if len(readers[node.name]) != 1:
            return False
    return True


def _moves(editor: GraphEditor, shape: tf.TensorShape, parts: _Parts) -> tuple[list[int], list[list[int]]] | None:
    """Return the dilation and the margins of each axis that is moved, None if they are unknown or depend on open sizes.

    Args:
        editor: the graph.
        shape: of what is moved.
        parts: what computes the convolution.
    """
    begin, end = parts.begin, parts.end
    origin = _origin(editor, begin)
    shapes = [node.name for node in editor.nodes.values() if node.op == "Shape" and _origin(editor, node) == origin]
    found = []
    for trial in _TRIALS:
        known = {}
        if shape.rank is not None:
            sizes = [size if size is not None else trial[axis % len(trial)] for axis, size in enumerate(shape)]
            known = dict.fromkeys(shapes, np.array(sizes))
        numbers = [
            computed_integers(editor, node_name(node.input[index]), known) for node in (begin, end) for index in (1, 2)
        ]
        if any(array is None for array in numbers):
            return None
        blocks, paddings, again, crops = map(np.asarray, numbers)
        margins = paddings - crops
        if not np.array_equal(blocks, again) or margins.min() < 0:
            return None
        found.append((blocks.tolist(), margins.tolist()))
    return found[0] if all(moves == found[0] for moves in found) else None


def _origin(editor: GraphEditor, node: Any) -> str:
    """Return the reference that a node reads, behind what only passes it on."""
    reference = node.input[0]
    while (source := editor.nodes[node_name(reference)]).op == "Identity":
        reference = source.input[0]
    return reference.removesuffix(":0")


def _join(
    editor: GraphEditor,
    shape: tf.TensorShape,
    kernel: tf.TensorShape,
    parts: _Parts,
    rates: list[int],
    margins: list[list[int]],
) -> None:
    """Let a convolution do what the moves around it do.

    Args:
        editor: the graph.
        shape: of what is moved.
        kernel: its shape.
        parts: what computes the convolution.
        rates, margins: the dilation and the margins of each axis that is moved.
    """
    begin, convolution = parts.begin.name, parts.convolution
    rest = parts.axes - len(rates)
    rates, margins = [*rates, *[1] * rest], [*margins, *[[0, 0]] * rest]
    added = int(parts.expanded)
    all_rates, all_margins = [*[1] * added, *rates], [*[[0, 0]] * added, *margins]
    convolution.attr["dilations"].list.i[:] = [1, *all_rates, 1]
    if kernel.rank is not None and all_margins == list(map(_same, kernel[: len(all_rates)], all_rates)):
        convolution.attr["padding"].s = b"SAME"
        margins = []
    kind = tf.as_dtype(convolution.attr["T"].type)
    rows = [[0, 0], *margins, [0, 0]]
    editor.replace(parts.begin, lambda places: tf.pad(places, rows) if any(map(any, rows)) else places, shape, kind)
    editor.replace(parts.end, lambda places: places, None, kind)
    moved = editor.nodes[begin]
    editor.redirect(begin, moved.input[0])
    editor.remove(moved)  # passes count the readers of a node


def _same(size: int | None, rate: int) -> list[int] | None:
    """Return the margins with which a convolution keeps the size of what it reads."""
    if size is None:
        return None
    total = (size - 1) * rate
    return [total // 2, total - total // 2]
