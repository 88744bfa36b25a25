"""Arithmetic: in integers, in one bit or in floating point, as far as a compressed model tells it.

What a runtime makes of a file is not known here; the audit of the file asks it.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras_compress._keras import keras
from keras_compress.graph import GraphNode, LayerRole, ModelGraph, spec_of, take
from keras_compress.graph.identity import is_operation
from keras_compress.graph.passes.quantize_outputs import computes_with_integers
from keras_compress.layers import AsymmetricFakeQuantize, BinaryActivation, BinaryWeight, FakeQuantize, WeightOp

__all__ = ["FLOAT", "INTEGERS", "ONE_BIT", "Arithmetic", "bits_of"]

INTEGERS, ONE_BIT, FLOAT = "integers", "one bit", "floating point"


def bits_of(operations: Sequence[WeightOp]) -> int:
    """Return the bits of a weight behind some operations: 1 if it is binary by now, 32 without a grid."""
    bits = [op.num_bits for op in operations if isinstance(op, FakeQuantize)]
    bits += [1 for op in operations if isinstance(op, BinaryWeight) and bool(op.active.numpy())]
    return min(bits, default=32)


class Arithmetic:
    """In what the layers of a model compute.

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
        bits = bits_of(operations)
        if bits == 32:
            waiting = any(isinstance(op, BinaryWeight) for op in operations)
            because = "it is not binary yet" if waiting else "it has zeros and no grid"
            return FLOAT, because if operations else "nothing compresses it"
        if any(isinstance(op, AsymmetricFakeQuantize) for op in operations):
            return FLOAT, "OpenVINO computes with asymmetric weights in floating point"
        if spec_of(type(layer).__name__, layer.get_config()).role is not LayerRole.COMPUTE:
            return FLOAT, "its weights are compressed, its arithmetic stays in floating point"
        calls = self._calls[path]
        if bits == 1:
            return (ONE_BIT, "") if all(map(self._reads_bits, calls)) else (FLOAT, "its input is not binary")
        integers = all(computes_with_integers(self._graph, call) for call in calls)
        return (INTEGERS, "") if integers else (FLOAT, "its input is not quantized")

    def _reads_bits(self, call: GraphNode) -> bool:
        producers = (self._graph.producer(tensor) for tensor in call.inputs)
        return all(is_operation(producer.entry, BinaryActivation) for producer in producers)
