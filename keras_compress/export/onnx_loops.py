"""Loops in ONNX graphs: what their bodies read from outside is kept apart from quantizers.

ONNX Runtime carries a DequantizeLinear forward over operations that only move numbers. Where the last of them is read
inside a loop, it looks for that reader among the inputs of the loop, finds none, and ends the process. A maximum of one
tensor changes nothing, and nothing is carried over it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["bodies", "keep_quantizers_out_of_loops", "reading_from_outside"]

#: Operations over which a quantizer may be carried.
_CARRIED = {
    *("DequantizeLinear", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten", "Slice", "Gather"),
    *("MaxPool", "Expand", "Tile", "Concat", "Split", "DepthToSpace", "SpaceToDepth", "Pad", "Clip", "Relu"),
}


def keep_quantizers_out_of_loops(graph: Any) -> None:
    """Put a maximum of one tensor behind what a loop's body reads from outside, if it may lead to a quantizer, in place."""
    import onnx

    producers = {name: node for node in graph.node for name in node.output}
    apart: dict[str, Any] = {}
    for node in graph.node:
        for body in bodies(node):
            for reader, index in reading_from_outside(body):
                name = reader.input[index]
                if not _leads_to_quantizer(producers, name):
                    continue
                if name not in apart:
                    apart[name] = onnx.helper.make_node("Max", [name], [f"{name}/in_loop"], name=f"{name}/in_loop")
                reader.input[index] = apart[name].output[0]
    ordered = []
    for node in graph.node:
        ordered.append(node)
        ordered += [apart[name] for name in node.output if name in apart]
    del graph.node[:]
    graph.node.extend(ordered)


def bodies(node: Any) -> Iterator[Any]:
    """Yield the graphs inside of a node, as the body of a loop."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def reading_from_outside(body: Any) -> Iterator[tuple[Any, int]]:
    """Yield the nodes of a body that read what it does not make, and the position of the input."""
    own = {value.name for value in (*body.input, *body.initializer)} | {
        name for node in body.node for name in node.output
    }
    for node in body.node:
        yield from ((node, index) for index, name in enumerate(node.input) if name and name not in own)
        for inner in bodies(node):
            yield from (
                (reader, index) for reader, index in reading_from_outside(inner) if reader.input[index] not in own
            )


def _leads_to_quantizer(producers: dict[str, Any], name: str) -> bool:
    """Whether a quantizer may be carried to a tensor: over any input of the operations it comes through."""
    waiting, seen = [name], {name}
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or node.op_type not in _CARRIED:
            continue
        if node.op_type == "DequantizeLinear":
            return True
        waiting += set(node.input) - seen
        seen.update(node.input)
    return False
