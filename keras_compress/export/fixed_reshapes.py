"""Shapes that a model computes from its open batch, written down where all but one of their sizes are known.

Keras reads the size of an open batch while it reshapes, and tells TensorFlow the other sizes in a place that a file does not
keep. Converters then know none of them. Where a model itself reads that size, as in ``tf.reshape(x, (tf.shape(x)[0], -1, 4))``,
TensorFlow does not know them either, unless the batch is fixed: then the sizes for two batches tell which is the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_editing import add_constant, node_name

__all__ = ["fix_reshapes"]


#: Two batches that no size is likely to be a multiple of by chance.
_BATCHES = (3, 7)

ShapeOf = Callable[[str], tf.TensorShape]


def fix_reshapes(
    graph_def: tf.compat.v1.GraphDef, shape_of: ShapeOf, of_batch: Callable[[int], ShapeOf] | None = None
) -> None:
    """Give every ``Reshape`` a constant shape, in place, if at most one size of its result is open.

    Args:
        graph_def: a frozen graph.
        shape_of: returns the shape of what a reference of a node reads; unknown sizes are None.
        of_batch: returns the same for a batch of so many samples; asked where ``shape_of`` leaves several sizes of a result open.
            Default None: the batch is fixed.
    """
    constants = {node.name for node in graph_def.node if node.op == "Const"}
    reshapes = [node for node in graph_def.node if node.op == "Reshape" and node_name(node.input[1]) not in constants]
    shapes = {node.name: _sizes(shape_of(node.name)) for node in reshapes}
    if of_batch is not None and any(sizes is None or sizes.count(-1) > 1 for sizes in shapes.values()):
        one, other = (of_batch(batch) for batch in _BATCHES)
        for name, sizes in shapes.items():
            if sizes is None or sizes.count(-1) > 1:
                shapes[name] = _open_in_batch(_sizes(one(name)), _sizes(other(name)))
    for node in reshapes:
        sizes = shapes[node.name]
        if sizes and sizes.count(-1) <= 1 and 0 not in sizes:
            node.input[1] = add_constant(graph_def, f"{node.name}/known_shape", np.array(sizes, np.int32))
            node.attr["Tshape"].type = tf.int32.as_datatype_enum


def _sizes(shape: tf.TensorShape) -> list[int] | None:
    """Return the sizes of a shape, -1 for an open one; None if the number of axes is open."""
    return None if shape.rank is None else [-1 if size is None else size for size in shape]


def _open_in_batch(one: list[int] | None, other: list[int] | None) -> list[int] | None:
    """Return the sizes that do not depend on the batch, -1 for the only one that does, from those for two batches; else None."""
    if one is None or other is None or len(one) != len(other) or -1 in one or -1 in other:
        return None
    sizes = [first if first == second else -1 for first, second in zip(one, other, strict=True)]
    grown = [(first, second) for first, second in zip(one, other, strict=True) if first != second]
    in_proportion = all(first * _BATCHES[1] == second * _BATCHES[0] for first, second in grown)
    return sizes if len(grown) == 1 and in_proportion else None
