"""Reversals written as slices with a step of minus one, for converters that lose the grid of the values, or take one axis only."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_editing import GraphEditor, shapes_in
from keras_compress.export.quantized_constants import FAKE_QUANTIZERS

__all__ = ["reversals_as_slices"]

#: Operations behind which values are still on their grid.
_MOVES = ("Reshape", "Transpose", "ExpandDims", "Squeeze", "StridedSlice", "Relu", "Relu6", "MaxPool", "ReverseV2")


def reversals_as_slices(graph_def: tf.compat.v1.GraphDef) -> None:
    """Replace reversals of quantized values, and of several axes, in place; others stay, as those of recurrent layers.

    Args:
        graph_def: a frozen graph.
    """
    editor = GraphEditor(graph_def)
    reversals = [node for node in graph_def.node if node.op == "ReverseV2"]
    axes = {node.name: editor.constant(node, 1) for node in reversals}
    chosen = [
        node
        for node in reversals
        if axes[node.name] is not None and (len(axes[node.name]) > 1 or _is_on_grid(editor, node))
    ]
    if not chosen:
        return
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    shape_of = shapes_in(graph)
    for node in chosen:
        shape = shape_of(node.input[0])
        if shape.rank is not None:
            reversed_axes = {int(axis) % shape.rank for axis in np.atleast_1d(axes[node.name])}
            editor.replace(node, _sliced(reversed_axes, shape.rank), shape, tf.as_dtype(node.attr["T"].type))


def _is_on_grid(editor: GraphEditor, node: Any) -> bool:
    """Whether a quantizer makes what a node reads, but for moves."""
    source = editor.producer(node, 0)
    while source.op in _MOVES:
        source = editor.producer(source, 0)
    return source.op in FAKE_QUANTIZERS


def _sliced(axes: Collection[int], rank: int) -> Callable[[tf.Tensor], tf.Tensor]:
    index = tuple(slice(None, None, -1 if axis in axes else None) for axis in range(rank))
    return lambda values: values[index]
