"""Inputs, outputs and names of an OpenVINO model: those of the Keras model, in its order, and the same in every process."""

from __future__ import annotations

import re
from typing import Any

import tensorflow as tf

from keras_compress.export.format import TensorNames
from keras_compress.export.graph_editing import GraphEditor

#: The kind of an operation and a number; names of TensorFlow's nodes hold slashes or colons.
_MADE_UP = re.compile(r"([A-Z][A-Za-z]*)_\d+")

__all__ = ["number_nodes", "with_interface"]


def with_interface(converted: Any, graph_def: tf.compat.v1.GraphDef, names: TensorNames) -> Any:
    """Return a model with exactly the inputs and outputs of a frozen graph, in order and with their names.

    OpenVINO takes whatever nothing reads for an output, an input too, and orders outputs by itself.

    Args:
        converted: the ``openvino.Model`` made from the graph.
        graph_def: the graph.
        names: of its inputs and outputs.
    """
    import openvino

    inputs = {_plain(name): node for node in converted.get_parameters() for name in node.output(0).get_names()}
    made = {
        _plain(name): result.input(0).get_source_output()
        for result in converted.get_results()
        for name in result.input(0).get_source_output().get_names()
    }
    editor = GraphEditor(graph_def)
    results = []
    for name in names.outputs:
        source = made.get(name)
        if source is None:  # an output that is an input; its name was lost on the way
            source = inputs[editor.producer(editor.nodes[name]).name].output(0)
            source.get_tensor().add_names({f"{name}:0"})
        results.append(openvino.opset8.result(source, name=f"{name}/output"))
    return openvino.Model(results, [inputs[name] for name in names.inputs], converted.get_friendly_name())


def number_nodes(model: Any) -> None:
    """Give nodes without a name of their own numbers of this model, in place of those of the process."""
    for number, node in enumerate(model.get_ordered_ops()):
        for body in _bodies(node):
            number_nodes(body)
        made_up = _MADE_UP.fullmatch(node.get_friendly_name())
        if made_up:
            node.set_friendly_name(f"{made_up[1]}_{number}")


def _bodies(node: Any) -> list[Any]:
    """Return the models inside a node: the body of a loop, or both branches of a condition."""
    if node.get_type_name() == "If":
        return [node.get_function(index) for index in range(2)]
    return [node.get_function()] if hasattr(node, "get_function") else []


def _plain(name: str) -> str:
    return name.removesuffix(":0")
