"""What a TensorFlow graph of a file would do when it runs: its operations are looked at first, those of its functions included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keras_compress.errors import UntrustedFileError
from keras_compress.safe_mode.descriptions import WAY_OUT
from keras_compress.safe_mode.tensorflow_operations import HARMLESS_OPERATIONS
from keras_compress.safe_mode.trust import is_trusted

__all__ = ["called_functions", "functions_in", "refuse_operations", "refuse_programs_in_graph"]

#: Streams that a graph may print to; any other is the name of a file.
_STREAMS = (b"stderr", b"stdout", b"log(info)", b"log(warning)", b"log(error)")
#: How many operations a message names.
_NAMED = 5


def refuse_programs_in_graph(graph_def: Any, what: str) -> None:
    """Refuse a graph with operations that do more than compute, unless files are trusted.

    Args:
        graph_def: the graph, with its functions.
        what: what it is, for the message.

    Raises:
        UntrustedFileError: it has such operations.
    """
    bodies = ((node for node in function.node_def) for function in graph_def.library.function)
    refuse_operations([*graph_def.node, *(node for body in bodies for node in body)], what)


def refuse_operations(nodes: Iterable[Any], what: str, allowed: Iterable[str] = ()) -> None:
    """Refuse nodes whose operations do more than compute, unless files are trusted.

    Args:
        nodes: of a graph.
        what: what they belong to, for the message.
        allowed: further operations that are no harm here. Default: none.

    Raises:
        UntrustedFileError: there are such nodes.
    """
    if is_trusted():
        return
    found = {node.op: node.name for node in _harmful(nodes, frozenset(allowed))}
    if found:
        named = ", ".join(f"{op} ('{name}')" for op, name in list(found.items())[:_NAMED])
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise UntrustedFileError(
            f"{what} is more than a model: it has operations that do more than compute, or are not known to do less. Expected: "
            f"operations without side effects. Received: {named}{more}. {WAY_OUT}"
        )


def _harmful(nodes: Iterable[Any], allowed: frozenset[str]) -> Iterator[Any]:
    for node in nodes:
        if node.op == "PrintV2" and node.attr["output_stream"].s in (*_STREAMS, b""):
            continue
        if node.op not in HARMLESS_OPERATIONS and node.op not in allowed:
            yield node


def called_functions(nodes: Iterable[Any], functions: Mapping[str, Any]) -> set[str]:
    """Return the names of all functions that nodes call, and of those that these call.

    Args:
        nodes: of a graph.
        functions: those of its library by name.
    """
    found: set[str] = set()
    waiting = list(nodes)
    while waiting:
        for name in functions_in(waiting.pop()):
            if name in functions and name not in found:
                found.add(name)
                waiting += functions[name].node_def
    return found


def functions_in(node: Any) -> Iterator[str]:
    """Yield the names of the functions that a node itself calls."""
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)
