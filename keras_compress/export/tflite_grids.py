"""Grids: which grid TensorFlow Lite's converter gives to a tensor, and which tensors have none for certain.

A grid comes from a quantizer, or from an activation function whose outputs have a fixed range there, and passes through what only
moves, selects or averages values. The converter makes one operation of several, too, as of a division by a norm, and that has a fixed
range as well. So what is not known to have no grid counts as having an unknown one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_def import MOVES
from keras_compress.export.graph_editing import node_name
from keras_compress.export.quantized_constants import evaluated
from keras_compress.export.tflite_weights import FLOAT_ZERO

__all__ = ["AVERAGES", "FIXED", "JOINS", "KEEPS", "QUANTIZER", "Grids", "Range", "is_float", "moved_input"]

QUANTIZER = "FakeQuantWithMinMaxVars"
#: Which inputs are values, of operations that join several in one grid.
JOINS: dict[str, Any] = {
    "ConcatV2": lambda inputs: range(len(inputs) - 1),
    "Pack": lambda inputs: range(len(inputs)),
    **dict.fromkeys(("Maximum", "Minimum"), lambda inputs: range(2)),
    **dict.fromkeys(("Select", "SelectV2"), lambda inputs: range(1, 3)),
    "PadV2": lambda inputs: (0, 2),
    "TensorScatterUpdate": lambda inputs: (0, 2),
    "ScatterNd": lambda inputs: (1,),
}
#: Operations whose results are means of what they read, on its grid.
AVERAGES = ("AvgPool", "Mean")
#: Operations that keep the grid of what they read.
KEEPS = (MOVES - set(JOINS)) | {"Min", "StopGradient", "ResizeBilinear", "Roll", "GatherNd", "TopKV2", *AVERAGES}
#: Ends of the ranges that TensorFlow Lite's converter gives to the outputs of activation functions.
FIXED = {
    "Softmax": (0.0, 255 / 256),
    "Sigmoid": (0.0, 255 / 256),
    "Tanh": (-1.0, 127 / 128),
    "LogSoftmax": (-255 * 16 / 256, 0.0),
}
#: Operations whose results have no grid, whatever they read and whatever reads them.
_WITHOUT = {
    *(
        "Placeholder",
        "Const",
        "Conv2D",
        "Conv3D",
        "DepthwiseConv2dNative",
        "Conv2DBackpropInput",
        "MatMul",
        "BatchMatMulV2",
    ),
    *("BiasAdd", "Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Softplus", "Exp", "Log", "Square", "Sqrt", "Abs", "Neg"),
    *("Sum", "Cast", "OneHot", "SquaredDifference"),
}
#: The constant operand that changes nothing, by operation. With another one the result has no grid.
_NEUTRAL = {"AddV2": 0.0, "Sub": 0.0, "Mul": 1.0, "RealDiv": 1.0}
#: The lowest and the highest level.
Range = tuple[float, float]


def moved_input(node: Any) -> str:
    """Return the reference of the values that an operation moves: the first input, but for a split into equal parts."""
    return node.input[1 if node.op == "Split" else 0]


def is_float(node: Any) -> bool:
    """Return whether an operation with one type of values computes in float32."""
    return node.attr["T"].type == tf.float32.as_datatype_enum


class Grids:
    """Which grid the converter gives to a tensor.

    Args:
        graph_def: the graph.
        nodes: its nodes by name.
    """

    def __init__(self, graph_def: Any, nodes: dict[str, Any]):
        self.nodes = nodes
        self._found: dict[str, Range | None] = {}
        ends = sorted({node_name(e) for n in graph_def.node if n.op == QUANTIZER for e in n.input[1:3]})
        self._ends = {name: float(value) for name, value in zip(ends, evaluated(graph_def, ends), strict=True)}

    def of(self, reference: str) -> Range | None:
        """Return the ends of the grid of a tensor; None for one that has none of its own, or an unknown one."""
        source = self.way(reference)[-1]
        if source.name not in self._found:
            self._found[source.name] = self._made_by(source)
        return self._found[source.name]

    def range_of(self, quantizer: Any) -> Range:
        """Return the ends of the range of a quantizer."""
        low, high = (self._ends[node_name(end)] for end in quantizer.input[1:3])
        return low, high

    def may_have(self, reference: str) -> bool:
        """Return whether a tensor has a grid, or is not known to have none."""
        return self.of(reference) is not None or not self._has_none(self.way(reference)[-1])

    def way(self, reference: str) -> list[Any]:
        """Return what makes a tensor, backward through what keeps grids, up to and with what does not."""
        found = [self.nodes[node_name(reference)]]
        while found[-1].op in KEEPS:
            found.append(self.nodes[node_name(moved_input(found[-1]))])
        return found

    def are_one(self, node: Any, found: dict[int, Range | None]) -> bool:
        """Return whether the parts of a join have one grid, or none; constants inside of it count as having it."""
        grids = set(filter(None, found.values()))
        if not grids:
            return True
        [first, *others] = grids
        return not others and all(
            grid is not None or self._lies_in(node.input[position], first) for position, grid in found.items()
        )

    def _made_by(self, node: Any) -> Range | None:
        if node.op == QUANTIZER:
            return self.range_of(node)
        if node.op in JOINS:
            grids = {position: self.of(node.input[position]) for position in JOINS[node.op](node.input)}
            return next(filter(None, grids.values()), None) if self.are_one(node, grids) else None
        return FIXED.get(node.op)

    def _has_none(self, node: Any) -> bool:
        """Whether a result has no grid for certain; the joins count as well, since their parts are looked at by themselves."""
        if node.op in _WITHOUT or node.op in JOINS:
            return True
        if node.op not in _NEUTRAL:
            return False
        constants = [self._constant(reference) for reference in node.input if node_name(reference) != FLOAT_ZERO]
        numbers = [values for values in constants if values is not None]
        if any(np.all(values == _NEUTRAL[node.op]) for values in numbers):
            return False  # the converter takes the operation away
        divided = node.op == "RealDiv"  # a constant that is divided may be part of a sigmoid
        return node.op == "AddV2" or bool([values for values in constants[divided:] if values is not None])

    def _constant(self, reference: str) -> np.ndarray | None:
        node = self.nodes[node_name(reference)]
        return tf.make_ndarray(node.attr["value"].tensor) if node.op == "Const" else None

    def _lies_in(self, reference: str, grid: Range) -> bool:
        values = self._constant(reference)
        step = (grid[1] - grid[0]) / 255
        return values is not None and bool(np.all(values >= grid[0] - step) and np.all(values <= grid[1] + step))
