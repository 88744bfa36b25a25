"""Normalizations in frozen graphs: written so that TensorFlow computes them with their own epsilon.

On CPUs TensorFlow joins the operations of a layer normalization into one of oneDNN, and computes that with an epsilon of
0.001 whatever the graph says. It recognizes the reciprocal square root; a square root and a reciprocal it leaves alone.
"""

from __future__ import annotations

import tensorflow as tf

from keras_compress.export.graph_editing import GraphEditor

__all__ = ["write_reciprocal_square_roots_apart"]


def write_reciprocal_square_roots_apart(graph_def: tf.compat.v1.GraphDef) -> None:
    """Replace every ``Rsqrt`` of a graph by ``Sqrt`` and ``Reciprocal``, in place."""
    editor = GraphEditor(graph_def)
    for node in [node for node in graph_def.node if node.op == "Rsqrt"]:
        root = tf.compat.v1.NodeDef()
        root.CopyFrom(node)
        root.name, root.op = f"{node.name}/sqrt", "Sqrt"
        editor.add(root)
        node.op = "Reciprocal"
        node.input[:] = [root.name]
