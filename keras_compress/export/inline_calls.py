"""Calls of functions in a TensorFlow graph, replaced by what the functions do.

Keras compiles some layers into functions of their own, as convolutions of several groups. Converters to other formats do not
look into them.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from keras_compress.errors import ExportError
from keras_compress.export.function_bodies import function_body
from keras_compress.export.graph_editing import node_name, remove_nodes

__all__ = ["inline_calls"]

#: Operations that a graph may have.
LARGEST = 10_000_000
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def inline_calls(graph_def: tf.compat.v1.GraphDef) -> None:
    """Replace every call of a function by the nodes of that function, in place.

    The nodes are called ``<call>/<node>``. Bodies of loops and branches stay functions.

    Raises:
        ExportError: functions call each other without end, or so often that the graph would be too large.
    """
    functions = {function.signature.name: function for function in graph_def.library.function}
    if _inlined_size(graph_def, functions) > LARGEST:
        raise ExportError(
            f"The functions of the graph call each other too often. Expected: at most {LARGEST:,} operations in all. Export the model again."
        )
    calls = _calls(graph_def, functions)
    while calls:
        results: dict[str, str] = {}
        for call in calls:
            results.update(_add_body(graph_def, call, functions[call.attr["f"].func.name]))
        names = {call.name for call in calls}
        remove_nodes(graph_def.node, names)
        _refer_to(graph_def, results, names)
        calls = _calls(graph_def, functions)


def _inlined_size(graph_def: Any, functions: dict[str, Any]) -> float:
    """Return how many nodes a graph has once every call is replaced; infinite if a function calls itself."""
    sizes: dict[str, float] = {}

    def size(nodes: Any) -> float:
        return sum(1 + (of(node.attr["f"].func.name) if node.op in _CALLS else 0) for node in nodes)

    def of(name: str) -> float:
        if name not in functions:
            return 0
        if name not in sizes:
            sizes[name] = math.inf  # while it is counted: a call of itself
            sizes[name] = size(functions[name].node_def)
        return sizes[name]

    return size(graph_def.node)


def _calls(graph_def: Any, functions: dict[str, Any]) -> list[Any]:
    return [node for node in graph_def.node if node.op in _CALLS and node.attr["f"].func.name in functions]


def _add_body(graph_def: Any, call: Any, function: Any) -> dict[str, str]:
    """Add the nodes of a function; return what replaces each result of its call, by ``name`` and ``name:index``."""
    body, made = function_body(function)
    arguments = [argument.name for argument in function.signature.input_arg]
    sources = dict(zip(arguments, [name for name in call.input if not name.startswith("^")], strict=True))

    def outside(reference: str) -> str:
        control, name = ("^", reference[1:]) if reference.startswith("^") else ("", reference)
        base, colon, port = name.partition(":")
        if base in sources:
            return control + (node_name(sources[base]) if control else sources[base])
        return f"{control}{call.name}/{base}{colon}{port}"

    for node in body:
        added = graph_def.node.add()
        added.CopyFrom(node)
        added.name = f"{call.name}/{node.name}"
        del added.input[:]
        added.input.extend(outside(reference) for reference in node.input)
    return {f"{call.name}:{index}": outside(reference) for index, reference in enumerate(made)}


def _refer_to(graph_def: Any, results: dict[str, str], calls: set[str]) -> None:
    """Let every node read the results of functions instead of those of their calls; one result may be that of another call."""

    def resolved(reference: str) -> str:
        seen: set[str] = set()
        while (key := reference if ":" in reference else f"{reference}:0") in results:
            if key in seen:
                raise ExportError(f"The graph is damaged: '{reference}' is made of itself. Export the model again.")
            seen.add(key)
            reference = results[key]
        return reference

    for node in graph_def.node:
        references = [reference for reference in node.input if node_name(reference) not in calls or reference[0] != "^"]
        del node.input[:]
        node.input.extend(resolved(reference) for reference in references)
