"""Values that are joined in one tensor, arranged for TensorFlow Lite's converter.

A joined tensor has one grid in TensorFlow Lite, and so have its parts. Where a part has a grid, the converter gives it to the
other parts too, whatever values these have, and that of a quantizer behind a part of the whole to all of it. So what has a grid,
or may have one, becomes floating point in front of a join whose parts do not all have the same.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_compress.export.graph_editing import readers_of
from keras_compress.export.tflite_float_parts import FloatParts
from keras_compress.export.tflite_grids import FIXED, JOINS, KEEPS, QUANTIZER, Grids, is_float
from keras_compress.export.tflite_weights import FLOAT_ZERO

__all__ = ["keep_grids_apart"]

#: Joins that the converter refuses in integers.
_REFUSED = ("TensorScatterUpdate", "ScatterNd")
#: What the converter makes a join of slices from.
_LIKE_JOINS = ("Roll",)


def keep_grids_apart(graph_def: tf.compat.v1.GraphDef) -> None:
    """Put a sum with zero behind parts of joins that have a grid, or may have one, in place, unless all parts have the same.

    Where all that reads the join are quantizers, their range is that of the whole, and the converter gives it to the parts; but
    it fails to where a part is a join itself. A sum stands in front of a quantizer as well that reads some of the values of a
    tensor without a grid, if something else reads others, and behind a join of values with the grid of an activation function.
    Nothing is done without :data:`~keras_compress.export.tflite_weights.FLOAT_ZERO` in the graph.
    """
    nodes = {node.name: node for node in graph_def.node}
    if FLOAT_ZERO not in nodes:
        return
    readers = readers_of(graph_def)
    grids = Grids(graph_def, nodes)
    parts = FloatParts(graph_def, nodes)
    for node in list(graph_def.node):
        if node.op in JOINS and is_float(node) and not node.name.startswith("zero/"):
            for position in _apart(node, grids, readers.get(node.name, [])):
                node.input[position] = parts.of(node.input[position])
    for node in list(graph_def.node):
        if node.op == QUANTIZER and (_reads_some(node, grids, readers) or _reads_fixed_join(node, grids)):
            node.input[0] = parts.of(node.input[0])


def _apart(node: Any, grids: Grids, readers: list[Any]) -> list[int]:
    """Return which inputs of a join become floating point."""
    found = {position: grids.of(node.input[position]) for position in JOINS[node.op](node.input)}
    risky = [position for position in found if grids.may_have(node.input[position])]
    if node.op in _REFUSED:
        return risky
    if _is_quantized(readers):
        return risky if any(_is_joined(node.input[position], grids) for position in risky) else []
    known = [position for position in risky if found[position] is not None]
    return [] if grids.are_one(node, found) and len(known) == len(risky) else risky


def _is_joined(reference: str, grids: Grids) -> bool:
    """Whether a tensor is made by a join, whose parts keep a grid."""
    way = grids.way(reference)
    return way[-1].op in JOINS or any(node.op in _LIKE_JOINS for node in way)


def _is_quantized(readers: list[Any]) -> bool:
    quantizers = [reader.op == QUANTIZER and reader.attr["num_bits"].i == 8 for reader in readers]
    return bool(quantizers) and all(quantizers)


def _reads_fixed_join(quantizer: Any, grids: Grids) -> bool:
    """Whether a quantizer reads a join of values with the grid of an activation function, which the converter refuses."""
    return _is_joined(quantizer.input[0], grids) and grids.of(quantizer.input[0]) in FIXED.values()


def _reads_some(quantizer: Any, grids: Grids, readers: dict[str, list[Any]]) -> bool:
    """Whether a quantizer reads values of a tensor without a grid behind moves, and something else reads that tensor too."""
    [*moves, source] = grids.way(quantizer.input[0])
    if not moves or source.op == "Const" or grids.of(quantizer.input[0]) is not None:
        return False
    return any(len(readers[node.name]) > 1 for node in [*moves[1:], source]) and not _are_quantizers(source, readers)


def _are_quantizers(source: Any, readers: dict[str, list[Any]]) -> bool:
    """Whether all that reads a tensor, behind moves, are quantizers: the converter keeps their ranges apart."""
    waiting = [source]
    for current in waiting:
        if not readers[current.name]:
            return False  # it is an output
        for reader in readers[current.name]:
            if reader.op in KEEPS:
                waiting += [] if reader in waiting else [reader]
            elif reader.op != QUANTIZER:
                return False
    return True
