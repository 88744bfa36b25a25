"""What moves numbers in ONNX graphs, in its place beside QuantizeLinear and DequantizeLinear.

Runtimes recognize the operation of integers behind a quantizer only if both operations of the quantizer follow each other. OpenVINO
pulls a quantizer through a transposition in front of it by itself, and joins it with the sum or multiplication there:
where the batch is open it then takes what is added to the first channel for all of them.
"""

from __future__ import annotations

from typing import Any

from keras_compress.export.onnx_loops import bodies, reading_from_outside
from keras_compress.export.reproducible_graph import copied

__all__ = ["MOVES", "quantize_in_front_of_moves", "quantize_in_front_of_transpositions"]

#: Operations that only move numbers; on constants they are carried out on the integers.
MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity")
#: What OpenVINO joins with a quantizer.
_JOINED = ("Add", "Sub", "Mul", "Div")
#: Operations on each number by itself that may stand in between.
_ON_EACH = ("Clip", "Relu", "LeakyRelu")


def quantize_in_front_of_moves(graph: Any) -> None:
    """Let what only moves numbers happen before QuantizeLinear instead of behind it, in place.

    Behind a sum or product these are all moves; behind other operations the first alone, so that the quantizer stays near the
    operation that runtimes join with it.
    """
    producers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    outputs = {value.name for value in graph.output}
    order = list(graph.node)
    for node in list(graph.node):
        quantize = producers.get(node.input[0]) if node.op_type in MOVES else None
        if quantize is None or quantize.op_type != "QuantizeLinear" or _has_axis(quantize):
            continue
        between = quantize.output[0]
        if readers[between] > 1 or between in outputs:
            continue
        node.input[0], quantize.input[0] = quantize.input[0], between
        quantize.output[0], node.output[0] = node.output[0], between
        source = producers.get(node.input[0])
        if source is not None and source.op_type in _JOINED:  # the next move finds the quantizer behind this one
            producers[quantize.output[0]], producers[between] = quantize, node
        first, second = (order.index(item) for item in (quantize, node))
        order[first], order[second] = node, quantize
    del graph.node[:]
    graph.node.extend(order)


def quantize_in_front_of_transpositions(graph: Any) -> None:
    """Turn ``quantize(transpose(x + b))`` into ``transpose(quantize(x + b))`` where b is a constant, in place.

    ``quantize`` is a QuantizeLinear and its DequantizeLinear, with one scale; between the transposition and either of them there
    may be other moves.
    """
    constants = {value.name for value in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    for quantize in [node for node in graph.node if node.op_type == "QuantizeLinear" and not _has_axis(node)]:
        first, moves = _moves_before(quantize, producers)
        behind = [node for node in graph.node if quantize.output[0] in node.input]
        if (
            not any(node.op_type == "Transpose" for node in moves)
            or not _reads_a_sum(moves[0].input[0], producers, constants)
            or any(node.op_type != "DequantizeLinear" for node in behind)
        ):
            continue
        first.input[0] = moves[0].input[0]
        for node in behind:
            _move_behind(graph, node, moves)
    _drop_unread(graph)


def _moves_before(quantize: Any, producers: dict[str, Any]) -> tuple[Any, list[Any]]:
    """Return the first node of a quantizer, which may be a Clip, and what moves numbers in front of it."""
    first, moves = quantize, list[Any]()
    node = producers.get(quantize.input[0])
    if node is not None and node.op_type == "Clip":
        first, node = node, producers.get(node.input[0])
    while node is not None and node.op_type in MOVES:
        moves.insert(0, node)
        node = producers.get(node.input[0])
    return first, moves


def _reads_a_sum(name: str, producers: dict[str, Any], constants: set[str]) -> bool:
    """Whether a tensor is a sum or product with a constant, looked for through moves and operations on each number."""
    node = producers.get(name)
    while node is not None and (node.op_type in MOVES or node.op_type in _ON_EACH):
        node = producers.get(node.input[0])
    return node is not None and node.op_type in _JOINED and any(name in constants for name in node.input)


def _move_behind(graph: Any, dequantize: Any, moves: list[Any]) -> None:
    """Let copies of moves follow a DequantizeLinear; the last of them makes the tensor of its name."""
    last, name = dequantize.output[0], f"{dequantize.output[0]}/moved"
    dequantize.output[0] = name
    position = list(graph.node).index(dequantize) + 1
    for number, move in enumerate(moves):
        copy = copied(move)
        copy.name = f"{last}/move{number}"
        copy.input[0] = name
        name = last if number == len(moves) - 1 else f"{last}/moved{number}"
        copy.output[0] = name
        graph.node.insert(position + number, copy)


def _drop_unread(graph: Any) -> None:
    """Remove moves that nothing reads any more."""
    outputs = {value.name for value in graph.output}
    while True:
        read = outputs.union(*(node.input for node in graph.node))
        for body in (body for node in graph.node for body in bodies(node)):
            read.update(node.input[index] for node, index in reading_from_outside(body))
        unread = [node for node in graph.node if node.op_type in MOVES and node.output[0] not in read]
        if not unread:
            return
        for node in unread:
            graph.node.remove(node)


def _has_axis(node: Any) -> bool:
    return any(attribute.name == "axis" for attribute in node.attribute)
