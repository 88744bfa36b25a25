"""An algorithm of another package: activations of dense layers are rounded to a grid by a quantizer of its own."""

from typing import ClassVar, Literal

from keras_compress._keras import keras, serialize
from keras_compress.algorithms import CompressionAlgorithm, Plan
from keras_compress.graph import InsertLayer, TensorRef
from keras_compress.layers import SymmetricFakeQuantize


@keras.saving.register_keras_serializable("rounding")
class RoundActivation(SymmetricFakeQuantize):
    """A quantizer of the package that nobody else knows."""


class Rounding(CompressionAlgorithm):
    """Rounds what goes into every dense layer to 256 levels between -8 and 8."""

    name: ClassVar[str] = "rounding"
    algorithm: Literal["rounding"] = "rounding"

    def plan(self, graph, context):
        scope = self.scope(context)
        paths = [path for path, _ in graph.layers()]
        scope.check(paths)
        edits = []
        for ref, node in graph.nodes.items():
            if node.is_a("Dense") and ref.layer in scope and ref.node == 0:
                source: TensorRef = node.inputs[0]
                layer = serialize(RoundActivation(8, name=f"{ref.layer[len(node.scope) :]}_rounding"))
                edits.append(InsertLayer(node.scope, layer, (source,), (ref,)))
        return Plan(tuple(edits))

    def initialize(self, ops, model, data):
        for bound in ops:
            bound.op.set_range(-8.0, 8.0)
        return False
