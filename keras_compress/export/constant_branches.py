"""Branches of a TensorFlow graph whose condition is a constant, replaced by the one that is taken, as in ``tf.image.rot90(x)``."""

from __future__ import annotations

import tensorflow as tf

from keras_compress.export.graph_editing import GraphEditor, node_name
from keras_compress.export.inline_calls import inline_calls
from keras_compress.export.shape_arithmetic import computed_integers

__all__ = ["take_constant_branches"]

_BRANCHES = ("If", "StatelessIf")


def take_constant_branches(graph_def: tf.compat.v1.GraphDef) -> None:
    """Write the branch that is taken in the place of every condition that depends on constants alone, in place.

    Branches within the one that is taken are looked at too.
    """
    found = True
    while found:
        found = False
        editor = GraphEditor(graph_def)
        for node in [node for node in graph_def.node if node.op in _BRANCHES]:
            condition = computed_integers(editor, node_name(node.input[0]))
            if condition is None or condition.ndim:
                continue
            found = True
            taken = node.attr["then_branch" if condition else "else_branch"].func
            node.op = "PartitionedCall"
            del node.input[0]
            node.attr["f"].func.CopyFrom(taken)
            for key in ("then_branch", "else_branch", "Tcond", "output_shapes"):
                node.attr.pop(key, None)
        if found:
            inline_calls(graph_def)
