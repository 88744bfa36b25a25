"""ComputePrecision: whether a layer can compute in integers, in one bit or in floating point, by the compressed model.

The rule for integers is :mod:`~keras_compress.graph.integer_computation`; what a runtime really does with a file is
reported by the audit of the file.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras_compress._keras import keras
from keras_compress.graph import GraphNode, LayerRole, ModelGraph, take
from keras_compress.graph.identity import is_operation
from keras_compress.graph.integer_computation import computes_with_integers
from keras_compress.layers import AsymmetricFakeQuantize, BinaryActivation, BinaryWeight, WeightOp
from keras_compress.reports.coverage import ARITHMETIC_IN_FLOAT, ASYMMETRIC_IN_FLOAT

__all__ = ["FLOAT", "INTEGERS", "ONE_BIT", "ComputePrecision"]

INTEGERS, ONE_BIT, FLOAT = "integers", "one bit", "floating point"


class ComputePrecision:
    """The precision in which the layers of a model compute.

    Args:
        model: compressed or plain; it is only read.
    """

    def __init__(self, model: keras.Model):
        self._graph = ModelGraph(take(model))
        self._calls: dict[str, list[GraphNode]] = {}
        for node in self._graph.nodes.values():
            self._calls.setdefault(node.ref.layer, []).append(node)

    def of(self, path: str, layer: keras.layers.Layer, operations: Sequence[WeightOp]) -> tuple[str, str]:
        """Return in what a layer computes with a weight, and if that is floating point, why.

        Args:
            path: of the layer.
            layer: itself, without what compresses it.
            operations: those of the weight.
        """
        bits = min((op.value_bits for op in operations), default=32)
        if bits == 32:
            waiting = any(isinstance(op, BinaryWeight) for op in operations)
            because = "it is not binary yet" if waiting else "it has zeros and no grid"
            return FLOAT, because if operations else "nothing compresses it"
        if any(isinstance(op, AsymmetricFakeQuantize) for op in operations):
            return FLOAT, ASYMMETRIC_IN_FLOAT
        calls = self._calls[path]
        if calls[0].spec.role is not LayerRole.COMPUTE:
            return FLOAT, ARITHMETIC_IN_FLOAT
        if bits == 1:
            return (ONE_BIT, "") if all(map(self._reads_bits, calls)) else (FLOAT, "its input is not binary")
        integers = all(computes_with_integers(self._graph, call) for call in calls)
        return (INTEGERS, "") if integers else (FLOAT, "its input is not quantized")

    def _reads_bits(self, call: GraphNode) -> bool:
        producers = (self._graph.producer(tensor) for tensor in call.inputs)
        return all(is_operation(producer.entry, BinaryActivation) for producer in producers)
