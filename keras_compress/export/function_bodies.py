"""The body of a TensorFlow function as nodes of a graph: what a node reads is named by number instead of by the name of an output.

Only what is written down is read; functions that the body calls need not be known to TensorFlow.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from keras_compress.errors import ExportError

__all__ = ["function_body"]


def function_body(function: Any) -> tuple[list[Any], list[str]]:
    """Return copies of the nodes of a function, and what each of its results is read from.

    Args:
        function: a ``FunctionDef``.

    Raises:
        ExportError: it refers to what is not there.
    """
    nodes = {node.name: node for node in function.node_def}
    arguments = {argument.name for argument in function.signature.input_arg}

    def flat(reference: str) -> str:
        name, *place = reference.split(":")
        if reference.startswith("^") or name in arguments:
            return name
        if name not in nodes or len(place) != 2 or not place[1].isdecimal():
            raise ExportError(
                f"The function '{function.signature.name}' is damaged: nothing in it makes '{reference}'. Export the model again."
            )
        number = _first(nodes[name], place[0]) + int(place[1])
        return f"{name}:{number}" if number else name

    copies = []
    for node in function.node_def:
        copy = tf.compat.v1.NodeDef()
        copy.CopyFrom(node)
        copy.input[:] = [flat(reference) for reference in node.input]
        copies.append(copy)
    return copies, [flat(function.ret[result.name]) for result in function.signature.output_arg]


def _first(node: Any, output: str) -> int:
    """Return the number of the first tensor of a named output of a node."""
    definition = op_def_registry.get(node.op)
    number = 0
    for argument in () if definition is None else definition.output_arg:
        if argument.name == output:
            return number
        if argument.number_attr:
            number += node.attr[argument.number_attr].i
        elif argument.type_list_attr:
            number += len(node.attr[argument.type_list_attr].list.type)
        else:
            number += 1
    raise ExportError(f"The operation {node.op} ('{node.name}') has no output '{output}'. Export the model again.")
