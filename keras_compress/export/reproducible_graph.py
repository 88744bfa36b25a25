"""Graphs that are the same to the last byte whenever the same model is written.

TensorFlow lists nodes in the order of a hash, numbers functions in the order in which a process made them, and notes
where a node came from. Here the order follows from the graph, and the numbers from the order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from keras_compress.export.graph_editing import node_name

__all__ = ["make_reproducible", "serialized"]

#: What functions are marked with while a process runs; names in it are drawn at random.
_MARKS = ("api_implements", "api_preferred_device", "forward_function_name", "backward_function_name")


def make_reproducible(graph_def: tf.compat.v1.GraphDef, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Bring nodes and functions of a graph into an order of their own and number the functions by it, in place.

    Args:
        graph_def: the graph.
        inputs, outputs: names of its input and output nodes; the inputs come first.
    """
    ordered = _in_order(graph_def, inputs, outputs)
    functions = {function.signature.name: function for function in graph_def.library.function}
    used: list[Any] = []
    bodies = [ordered]
    for nodes in bodies:
        for node in nodes:
            for name in _called(node, functions):
                if functions[name] not in used:
                    used.append(functions[name])
                    bodies.append(list(functions[name].node_def))
    renamed = {
        function.signature.name: f"{re.sub(r'(_[0-9]+)+$', '', function.signature.name)}_{number}"
        for number, function in enumerate(used)
    }
    for nodes in bodies:
        for node in nodes:
            _forget(node, renamed)
    for function in used:
        function.signature.name = renamed[function.signature.name]
        for mark in _MARKS:
            if mark in function.attr:
                del function.attr[mark]
    content, library = [_copy(node) for node in ordered], [_copy(function) for function in used]
    del graph_def.node[:]
    graph_def.node.extend(content)
    graph_def.ClearField("library")
    graph_def.library.function.extend(library)


def serialized(graph_def: tf.compat.v1.GraphDef) -> bytes:
    """Return a graph as bytes, the same ones for an equal graph."""
    return graph_def.SerializeToString(deterministic=True)


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


def _called(node: Any, functions: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the functions that a node calls."""
    if node.op in functions:
        yield node.op
    for key in sorted(node.attr):
        value = node.attr[key]
        for function in [value.func] if value.HasField("func") else value.list.func:
            if function.name in functions:
                yield function.name


def _forget(node: Any, renamed: dict[str, str]) -> None:
    """Take out of a node what tells where it came from, and rename the functions it calls."""
    node.ClearField("experimental_debug_info")
    node.op = renamed.get(node.op, node.op)
    control = sorted(reference for reference in node.input if reference.startswith("^"))
    node.input[:] = [*(reference for reference in node.input if not reference.startswith("^")), *control]
    for key in [key for key in node.attr if key in _MARKS or key == "_class"]:
        del node.attr[key]
    for value in node.attr.values():
        for function in [value.func] if value.HasField("func") else value.list.func:
            function.name = renamed.get(function.name, function.name)


def _copy(message: Any) -> Any:
    copied = type(message)()
    copied.CopyFrom(message)
    return copied
