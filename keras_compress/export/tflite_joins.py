"""Values that are joined in one tensor, arranged for TensorFlow Lite's converter.

A joined tensor has one grid in TensorFlow Lite, and so have its parts. Where a part has a grid, from a quantizer or from an
activation function whose outputs have a fixed range there, the converter gives it to the other parts too, whatever
values these have. So what has a grid becomes floating point in front of a join whose parts do not all have the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_def import MOVES
from keras_compress.export.graph_editing import add_node, node_name, readers_of
from keras_compress.export.quantized_constants import evaluated
from keras_compress.export.tflite_weights import FLOAT_ZERO

__all__ = ["Grids", "keep_grids_apart"]

#: Which inputs are values, of operations that join several in one grid.
_JOINS: dict[str, Any] = {
    "ConcatV2": lambda inputs: range(len(inputs) - 1),
    "Pack": lambda inputs: range(len(inputs)),
    **dict.fromkeys(("Maximum", "Minimum"), lambda inputs: range(2)),
    **dict.fromkeys(("Select", "SelectV2"), lambda inputs: range(1, 3)),
    "PadV2": lambda inputs: (0, 2),
    "TensorScatterUpdate": lambda inputs: (0, 2),
}
#: Operations that keep the grid of their first input.
_KEEPS = (MOVES - set(_JOINS)) | {"AvgPool", "Min", "StopGradient"}
_QUANTIZER = "FakeQuantWithMinMaxVars"
#: Ends of the ranges that TensorFlow Lite's converter gives to the outputs of activation functions.
_FIXED = {
    "Softmax": (0.0, 255 / 256),
    "Sigmoid": (0.0, 255 / 256),
    "Tanh": (-1.0, 127 / 128),
    "LogSoftmax": (-255 * 16 / 256, 0.0),
}
_Grid = tuple[float, float]


def keep_grids_apart(graph_def: tf.compat.v1.GraphDef) -> None:
    """Put a sum with zero behind parts of joins that have a grid, in place, unless all parts have the same.

    Nothing is done without :data:`~keras_compress.export.tflite_weights.FLOAT_ZERO` in the graph, and where all that reads
    the join are quantizers: their range is that of the whole.
    """
    nodes = {node.name: node for node in graph_def.node}
    if FLOAT_ZERO not in nodes:
        return
    readers = readers_of(graph_def)
    grids = Grids(graph_def, nodes)
    added: dict[str, str] = {}
    for node in list(graph_def.node):
        if node.op not in _JOINS or node.name.startswith("zero/") or _is_quantized(readers.get(node.name, [])):
            continue
        positions = _JOINS[node.op](node.input)
        found = {position: grids.of(node.input[position]) for position in positions}
        if grids.are_one(node, found):
            continue
        for position, grid in found.items():
            reference = node.input[position]
            if grid is None:
                continue
            if reference not in added:
                name = f"{reference.replace(':', '_')}/apart"
                types = {"T": tf.float32.as_datatype_enum}
                added[reference] = add_node(graph_def, "AddV2", name, [reference, FLOAT_ZERO], **types)
                grids.found[added[reference]] = None
            node.input[position] = added[reference]


def _is_quantized(readers: list[Any]) -> bool:
    quantizers = [reader.op == _QUANTIZER and reader.attr["num_bits"].i == 8 for reader in readers]
    return bool(quantizers) and all(quantizers)


class Grids:
    """Which grid the converter gives to a tensor."""

    def __init__(self, graph_def: Any, nodes: dict[str, Any]):
        self.nodes = nodes
        self.found: dict[str, _Grid | None] = {}
        ends = sorted({node_name(e) for n in graph_def.node if n.op == _QUANTIZER for e in n.input[1:3]})
        self.ends = {name: float(value) for name, value in zip(ends, evaluated(graph_def, ends), strict=True)}

    def of(self, reference: str) -> _Grid | None:
        """Return the ends of the grid of a tensor; None for one that has none of its own."""
        name = node_name(reference)
        waiting = []
        while name not in self.found and self.nodes[name].op in _KEEPS:
            waiting.append(name)
            name = node_name(self.nodes[name].input[0])
        if name not in self.found:
            self.found[name] = self._made_by(self.nodes[name])
        self.found.update(dict.fromkeys(waiting, self.found[name]))
        return self.found[name]

    def _made_by(self, node: Any) -> _Grid | None:
        if node.op == _QUANTIZER:
            low, high = (self.ends[node_name(end)] for end in node.input[1:3])
            return low, high
        if node.op in _JOINS:
            grids = {position: self.of(node.input[position]) for position in _JOINS[node.op](node.input)}
            return next(filter(None, grids.values()), None) if self.are_one(node, grids) else None
        return _FIXED.get(node.op)

    def are_one(self, node: Any, found: dict[int, _Grid | None]) -> bool:
        """Whether the parts of a join have one grid, or none; constants inside of it count as having it."""
        grids = set(filter(None, found.values()))
        if not grids:
            return True
        [first, *others] = grids
        return not others and all(
            grid is not None or self._lies_in(node.input[position], first) for position, grid in found.items()
        )

    def _lies_in(self, reference: str, grid: _Grid) -> bool:
        node = self.nodes[node_name(reference)]
        if node.op != "Const":
            return False
        values = tf.make_ndarray(node.attr["value"].tensor)
        step = (grid[1] - grid[0]) / 255
        return bool(np.all(values >= grid[0] - step) and np.all(values <= grid[1] + step))
