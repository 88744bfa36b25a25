"""Dilated convolutions written as one operation each.

TensorFlow computes a dilated convolution by moving places into the batch, convolving, and moving them back. TensorFlow Lite's
converter makes one operation of the three only where it knows how many samples there are, and otherwise computes them in floats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_editing import GraphEditor, shapes_in

__all__ = ["dilated_convolutions"]

#: Axes of places, by operation.
_CONVOLUTIONS = {"Conv2D": 2, "DepthwiseConv2dNative": 2, "Conv3D": 3}
#: The axis that stands for the height of a sequence, counted from the front and from the back.
_HEIGHT = (1, -3)


def dilated_convolutions(graph_def: tf.compat.v1.GraphDef) -> None:
    """Join every convolution with the moves of places into the batch before it and back behind it, in place.

    One whose paddings depend on the sizes of the inputs stays as it is.
    """
    ends = [node for node in graph_def.node if node.op == "BatchToSpaceND"]
    if not ends:
        return
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    shape_of = shapes_in(graph)
    editor = GraphEditor(graph_def)
    for end in ends:
        parts = _parts(editor, end)
        if parts is not None:
            _join(editor, shape_of, *parts)


def _parts(editor: GraphEditor, end: Any) -> tuple[Any, Any | None, Any, Any] | None:
    """Return the move into the batch, what adds an axis behind it, if any, the convolution and the move out of the batch."""
    squeeze, expand = None, None
    convolution = editor.nodes[_name(end)]
    if convolution.op == "Squeeze":
        squeeze, convolution = convolution, editor.nodes[_name(convolution)]
    if convolution.op not in _CONVOLUTIONS:
        return None
    begin = editor.nodes[_name(convolution)]
    if begin.op == "ExpandDims":
        expand, begin = begin, editor.nodes[_name(begin)]
    between = [node for node in (begin, expand, convolution, squeeze) if node is not None]
    readers = editor.readers()
    plain = convolution.attr["padding"].s == b"VALID" and convolution.attr["data_format"].s in (b"NHWC", b"NDHWC", b"")
    steps = (*convolution.attr["strides"].list.i, *convolution.attr["dilations"].list.i)
    if begin.op != "SpaceToBatchND" or (squeeze is None) != (expand is None) or not plain or set(steps) != {1}:
        return None
    if any(len(readers[node.name]) != 1 for node in between):
        return None
    if expand is not None and squeeze is not None:
        axes = editor.constant(expand, 1), *squeeze.attr["squeeze_dims"].list.i
        if any(axis not in _HEIGHT for axis in axes):
            return None
    return begin, expand, convolution, end


def _name(node: Any) -> str:
    return node.input[0].partition(":")[0]


def _join(editor: GraphEditor, shape_of: Callable, begin: Any, expand: Any | None, convolution: Any, end: Any) -> None:
    """Let the convolution do what the moves around it do, if their numbers are known."""
    blocks, paddings = (editor.constant(begin, index) for index in (1, 2))
    again, crops = (editor.constant(end, index) for index in (1, 2))
    if any(array is None for array in (blocks, paddings, again, crops)) or list(blocks) != list(again):
        return
    margins = (np.asarray(paddings) - crops).tolist()
    rates = list(map(int, blocks))
    if min(map(min, margins)) < 0:
        return
    missing = _CONVOLUTIONS[convolution.op] - len(rates)
    given, ones, nothing = margins, [1] * missing, [[0, 0]] * missing
    rates, margins = (rates + ones, margins + nothing) if expand is None else (ones + rates, nothing + margins)
    kernel = shape_of(convolution.input[1])
    convolution.attr["dilations"].list.i[:] = [1, *rates, 1]
    read = begin.input[0]
    if kernel.rank is not None and margins == list(map(_same, kernel[: len(rates)], rates)):
        convolution.attr["padding"].s = b"SAME"
    elif any(map(any, margins)):
        read = _padded(editor, begin, read, given)
    (convolution if expand is None else expand).input[0] = read
    editor.remove(begin)
    read_behind = end.input[0]
    del end.input[1:]
    end.op, end.input[0] = "Identity", read_behind
    kind = end.attr["T"].type
    end.attr.clear()
    end.attr["T"].type = kind


def _same(size: int | None, rate: int) -> list[int] | None:
    """Return the margins with which a convolution keeps the size of what it reads."""
    if size is None:
        return None
    total = (size - 1) * rate
    return [total // 2, total - total // 2]


def _padded(editor: GraphEditor, begin: Any, read: str, margins: list) -> str:
    """Add zeros around positions; return the name of the result."""
    rank = 1 + len(margins) + 1
    margins = [[0, 0], *margins, [0, 0]]
    name = f"{begin.name}/margins"
    with tf.Graph().as_default() as piece:
        source = tf.compat.v1.placeholder(tf.as_dtype(begin.attr["T"].type), [None] * rank, name="source")
        tf.pad(source, margins, name="padded")
    for part in piece.as_graph_def().node:
        if part.name != "source":
            part.input[:] = [read if entry == "source" else f"{name}/{entry}" for entry in part.input]
            part.name = f"{name}/{part.name}"
            editor.add(part)
    return f"{name}/padded"
