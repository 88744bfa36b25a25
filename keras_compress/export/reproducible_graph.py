"""Graphs that are the same to the last byte whenever the same model is written.

TensorFlow lists nodes in the order of a hash, numbers functions in the order in which a process made them, and notes
where a node came from. Here the order follows from the graph, and the names of functions from what they compute.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_compress.export.graph_editing import node_name
from keras_compress.export.impure_operations import draws_random_numbers

__all__ = ["copied", "make_reproducible", "merge_equal_nodes", "serialized"]

#: What functions are marked with while a process runs; names in it are drawn at random.
_MARKS = ("api_implements", "api_preferred_device", "forward_function_name", "backward_function_name")

#: What nodes are marked with for training and placement, with numbers that a process counts.
_NUMBERED = ("_class", "_gradient_op_type")

#: Operations of which two make two results, whatever they read.
_OWN_RESULT = ("Placeholder", "Stateful", "TensorList", "TensorArray", "PartitionedCall")


def make_reproducible(graph_def: tf.compat.v1.GraphDef, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Bring nodes and functions of a graph into an order of their own and name the functions by what they compute, in place.

    Args:
        graph_def: the graph.
        inputs, outputs: names of its input and output nodes; the inputs come first.
    """
    ordered = _in_order(graph_def, inputs, outputs)
    functions = _Functions(graph_def)
    for node in ordered:
        functions.rename_calls(node)
    content, library = [copied(node) for node in ordered], [copied(function) for function in functions.used]
    del graph_def.node[:]
    graph_def.node.extend(content)
    graph_def.ClearField("library")
    graph_def.library.function.extend(library)


def merge_equal_nodes(graph_def: tf.compat.v1.GraphDef, keep: Sequence[str]) -> None:
    """Keep one of all nodes that compute the same from the same inputs, in place.

    A converter that merges them itself takes any of their names.

    Args:
        graph_def: the graph, in an order in which each node is behind all that it reads.
        keep: names of nodes that stay, its inputs and outputs.
    """
    stands_for: dict[str, str] = {}
    first: dict[tuple, str] = {}
    kept = []
    for node in graph_def.node:
        for index, reference in enumerate(node.input):
            name = node_name(reference)
            node.input[index] = reference.replace(name, stands_for.get(name, name), 1)
        attributes = tuple((key, node.attr[key].SerializeToString(deterministic=True)) for key in sorted(node.attr))
        content = (node.op, tuple(node.input), attributes)
        own_result = node.op.startswith(_OWN_RESULT) or draws_random_numbers(node.op) or _calls(node)
        if node.name not in keep and not own_result:
            stands_for[node.name] = first.setdefault(content, node.name)
        if stands_for.get(node.name, node.name) == node.name:
            kept.append(copied(node))
    del graph_def.node[:]
    graph_def.node.extend(kept)


def serialized(message: Any) -> bytes:
    """Return a graph as bytes, the same ones for an equal graph: a TensorFlow graph, an ONNX model, any protocol buffer.

    Example:
        >>> graph = tf.compat.v1.GraphDef(node=[{"name": "x", "op": "Placeholder"}])
        >>> serialized(graph) == serialized(copied(graph))
        True
    """
    return message.SerializeToString(deterministic=True)


def copied(message: Any) -> Any:
    """Return a copy of a part of a graph, which stays when the part is deleted from the graph."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _in_order(graph_def: tf.compat.v1.GraphDef, inputs: Sequence[str], outputs: Sequence[str]) -> list[Any]:
    """Return the nodes, each behind all that it reads."""
    nodes = {node.name: node for node in graph_def.node}
    rest = sorted(set(nodes) - {*inputs, *outputs})
    placed: dict[str, Any] = {name: nodes[name] for name in inputs if name in nodes}
    entered: set[str] = set(placed)
    for end in (*outputs, *rest):
        stack = [end]
        while stack:
            name = stack[-1]
            entered.add(name)
            waiting = [source for source in _sources(nodes[name]) if source not in entered]
            if waiting:
                stack.append(waiting[0])
            else:
                placed.setdefault(stack.pop(), nodes[name])
    return list(placed.values())


def _sources(node: Any) -> list[str]:
    data = [node_name(reference) for reference in node.input if not reference.startswith("^")]
    return [*data, *sorted(node_name(reference) for reference in node.input if reference.startswith("^"))]


class _Functions:
    """The functions of a graph under names that follow from what they compute; ``used`` are those that are called.

    TensorFlow keeps functions by name for a whole process, so different ones may not have the same name.
    """

    def __init__(self, graph_def: tf.compat.v1.GraphDef):
        self._functions = {function.signature.name: function for function in graph_def.library.function}
        self._names: dict[str, str] = {}
        self.used: list[Any] = []

    def rename_calls(self, node: Any) -> None:
        """Rename the functions that a node calls, and take out of it what tells where it came from."""
        node.ClearField("experimental_debug_info")
        data = [reference for reference in node.input if not reference.startswith("^")]
        node.input[:] = [*data, *sorted(reference for reference in node.input if reference.startswith("^"))]
        for key in [key for key in node.attr if key in (*_MARKS, *_NUMBERED)]:
            del node.attr[key]
        node.op = self._name(node.op)
        for key in sorted(node.attr):
            value = node.attr[key]
            for function in [value.func] if value.HasField("func") else value.list.func:
                function.name = self._name(function.name)

    def _name(self, name: str) -> str:
        if name in self._names or name not in self._functions:
            return self._names.get(name, name)
        function = self._functions[name]
        for node in function.node_def:
            self.rename_calls(node)
        for mark in _MARKS:
            if mark in function.attr:
                del function.attr[mark]
        plain = re.sub(r"(_[0-9]+)+$", "", name)
        function.signature.name = plain
        digest = hashlib.sha256(serialized(function)).hexdigest()
        equal = sum(other.startswith(f"{plain}_{digest[:12]}") for other in self._names.values())
        self._names[name] = function.signature.name = f"{plain}_{digest[:12]}_{equal}"
        self.used.append(function)
        return self._names[name]


def _calls(node: Any) -> bool:
    return any(value.HasField("func") or value.list.func for value in node.attr.values())
