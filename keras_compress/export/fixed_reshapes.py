"""Shapes that a model computes from its open batch, written down where all but one of their sizes are known.

Keras reads the size of an open batch while it reshapes, and tells TensorFlow the other sizes in a place that a file does not
keep. Converters then know none of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["fix_reshapes"]


def fix_reshapes(graph_def: tf.compat.v1.GraphDef, graph: tf.Graph) -> None:
    """Give every ``Reshape`` a constant shape, in place, if at most one size of its result is open.

    Args:
        graph_def: a frozen graph.
        graph: the graph that it was made from, which knows the shapes.
    """
    known = {operation.name: operation.outputs[0].shape for operation in graph.get_operations() if operation.outputs}
    constants = {node.name for node in graph_def.node if node.op == "Const"}
    for node in [node for node in graph_def.node if node.op == "Reshape"]:
        shape = known.get(node.name)
        if shape is None or shape.rank is None or node.input[1].partition(":")[0] in constants:
            continue
        sizes = [-1 if size is None else size for size in shape]
        if sizes.count(-1) <= 1 and 0 not in sizes:
            node.input[1] = _add_shape(graph_def, f"{node.name}/known_shape", sizes)
            node.attr["Tshape"].type = tf.int32.as_datatype_enum


def _add_shape(graph_def: Any, name: str, sizes: list[int]) -> str:
    node = graph_def.node.add(op="Const", name=name)
    node.attr["dtype"].type = tf.int32.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.array(sizes, np.int32)))
    return name
