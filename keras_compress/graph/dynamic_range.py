"""Which operators need the full dynamic range of floating point: those on the way into a logarithm, a root or a divisor.

As the steps of signal processing in front of a logarithm: on a grid of 256 levels the small values would be lost. The way
begins where trained layers end: at a layer with weights, and at a sum or product that joins branches of trained layers, as
a residual stream. So a normalization that is written with operators leaves what is before it as a layer does.
"""

from __future__ import annotations

from collections.abc import Collection

from keras_compress.graph.layer_spec import LayerRole
from keras_compress.graph.view import GraphNode, ModelGraph, NodeRef, TensorRef

__all__ = ["nodes_of_full_range"]


def nodes_of_full_range(graph: ModelGraph, preprocessing: Collection[str] = ()) -> set[NodeRef]:
    """Return the nodes without trained weights whose results reach an input that needs the full dynamic range.

    Args:
        graph: the model.
        preprocessing: paths of the layers with weights that are steps of signal processing. Default: none.

    Example:
        >>> import tensorflow as tf
        >>> from keras_compress._keras import keras
        >>> from keras_compress.graph import take
        >>> signal = keras.Input((8,))
        >>> graph = ModelGraph(take(keras.Model(signal, tf.math.log(tf.math.multiply(signal, signal, name="power")))))
        >>> sorted(ref.layer for ref in nodes_of_full_range(graph) if graph.nodes[ref].inputs)
        ['tf.math.multiply']
    """
    inputs = [
        tensor
        for node in graph.nodes.values()
        if node.spec.sensitive_from is not None
        for tensor in node.inputs[node.spec.sensitive_from :]
    ]
    borders = _Borders(graph, preprocessing)
    reached = graph.backward(inputs, lambda producer: not borders.is_border(producer))
    return {NodeRef(tensor.layer, tensor.node) for tensor in reached if not borders.is_border(graph.producer(tensor))}


class _Borders:
    """The nodes where trained layers end."""

    def __init__(self, graph: ModelGraph, preprocessing: Collection[str]):
        self._graph = graph
        self._preprocessing = preprocessing
        self._joins: dict[NodeRef, bool] = {}
        for node in graph.nodes.values():  # from the inputs on, so that none waits for many before it
            self.is_border(node)

    def is_border(self, node: GraphNode) -> bool:
        if node.ref not in self._joins:
            self._joins[node.ref] = not node.spec.weights and self._joins_branches(node)
        return self._is_trained(node) or self._joins[node.ref]

    def _is_trained(self, node: GraphNode) -> bool:
        return bool(node.spec.weights) and node.ref.layer not in self._preprocessing

    def _joins_branches(self, node: GraphNode) -> bool:
        """Whether a sum or product has inputs that trained layers make, none of them from another by operators alone.

        One at least comes from a trained layer as it is: the sum of two squares, as in the power of a spectrum whose
        transformation is a convolution, is a step of signal processing.
        """
        tensors = set(node.inputs)
        if node.spec.role not in (LayerRole.MERGE, LayerRole.COMPUTE) or len(tensors) < 2:
            return False
        origins = {
            tensor: set(self._graph.backward([tensor], lambda one: not self.is_border(one))) for tensor in tensors
        }
        independent = not any(one in origins[other] for one in tensors for other in tensors - {one})
        trained = all(any(self.is_border(self._graph.producer(one)) for one in found) for found in origins.values())
        return independent and trained and any(map(self._is_from_trained_layer, tensors))

    def _is_from_trained_layer(self, tensor: TensorRef) -> bool:
        """Whether a border makes a tensor, but for its normalization, its activation function and movements."""
        while True:
            node = self._graph.producer(tensor)
            if self.is_border(node):
                return True
            passed = node.spec.moves_values or node.spec.is_activation or node.is_a("BatchNormalization")
            before = [one for one in node.inputs if self._graph.is_activation(one)]
            if not passed or len(before) != 1:
                return False
            tensor = before[0]
