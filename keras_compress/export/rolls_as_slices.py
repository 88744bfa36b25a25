"""Rolls written as slices that are joined again, for converters that lack the operation or make something else of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_editing import GraphEditor, shapes_in

__all__ = ["rolls_as_slices"]


def rolls_as_slices(graph_def: tf.compat.v1.GraphDef) -> None:
    """Replace rolls by constant numbers of places along axes of known sizes, in place; others stay."""
    editor = GraphEditor(graph_def)
    rolls = [node for node in graph_def.node if node.op == "Roll"]
    if not rolls:
        return
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    shape_of = shapes_in(graph)
    for node in rolls:
        shape = shape_of(node.input[0])
        shift, axis = editor.constant(node, 1), editor.constant(node, 2)
        if shift is None or axis is None or shape.rank is None:
            continue
        places = _places(np.atleast_1d(shift), np.atleast_1d(axis), shape)
        if places is not None:
            editor.replace(node, _sliced(places), shape, tf.as_dtype(node.attr["T"].type))


def _places(shifts: np.ndarray, axes: np.ndarray, shape: tf.TensorShape) -> dict[int, int] | None:
    """Return by how many places each axis is rolled, from 1 up to its size; None if a size is unknown."""
    found: dict[int, int] = {}
    for shift, axis in zip(shifts, axes, strict=True):
        position = int(axis) % len(shape)
        size = shape[position]
        if size is None:
            return None
        found[position] = (found.get(position, 0) + int(shift)) % size if size else 0
    return {position: count for position, count in found.items() if count}


def _sliced(places: dict[int, int]) -> Callable[[tf.Tensor], tf.Tensor]:
    def build(values: tf.Tensor) -> tf.Tensor:
        for axis, count in places.items():
            before = (slice(None),) * axis
            values = tf.concat([values[(*before, slice(-count, None))], values[(*before, slice(None, -count))]], axis)
        return values

    return build
