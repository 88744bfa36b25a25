"""Shapes that a model computes from its open batch, written down where all but one of their sizes are known.

Keras reads the size of an open batch while it reshapes, and tells TensorFlow the other sizes in a place that a file does not
keep. Converters then know none of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_editing import add_constant, node_name

__all__ = ["fix_reshapes"]


def fix_reshapes(graph_def: tf.compat.v1.GraphDef, shape_of: Callable[[str], tf.TensorShape]) -> None:
    """Give every ``Reshape`` a constant shape, in place, if at most one size of its result is open.

    Args:
        graph_def: a frozen graph.
        shape_of: returns the shape of what a reference of a node reads; unknown sizes are None.
    """
    constants = {node.name for node in graph_def.node if node.op == "Const"}
    for node in [node for node in graph_def.node if node.op == "Reshape"]:
        shape = shape_of(node.name)
        if shape.rank is None or node_name(node.input[1]) in constants:
            continue
        sizes = [-1 if size is None else size for size in shape]
        if sizes.count(-1) <= 1 and 0 not in sizes:
            node.input[1] = add_constant(graph_def, f"{node.name}/known_shape", np.array(sizes, np.int32))
            node.attr["Tshape"].type = tf.int32.as_datatype_enum
