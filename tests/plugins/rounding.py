"""An algorithm of another package: activations of dense layers are rounded to a grid by a quantizer of its own."""

from typing import ClassVar

from keras_compress._keras import keras
from keras_compress.algorithms import CompressionAlgorithm, Plan, plan_activations, register_algorithm
from keras_compress.graph.quantization_points import QuantizationPoint
from keras_compress.layers import SymmetricFakeQuantize


@keras.saving.register_keras_serializable("rounding")
class RoundActivation(SymmetricFakeQuantize):
    """A quantizer of the package that nobody else knows."""


@register_algorithm
class Rounding(CompressionAlgorithm):
    """Rounds what goes into every dense layer to 256 levels between -8 and 8."""

    name: ClassVar[str] = "rounding"

    def plan(self, graph, context):
        scope = self.checked_scope(graph, context)
        points = [
            QuantizationPoint((node.inputs[0],), (ref,))
            for ref, node in graph.nodes.items()
            if node.is_a("Dense") and ref.layer in scope and ref.node == 0
        ]
        return Plan(tuple(plan_activations(graph, points, lambda _, name: RoundActivation(8, name=name), "rounding")))

    def initialize(self, ops, model, data):
        for bound in ops:
            bound.op.set_range(-8.0, 8.0)
        return False
