"""Where activations are quantized: a pure function from a graph to the edges that carry integers.

Layers that can run in integers request quantized inputs. A request is propagated upwards through layers that only move
values, unless another consumer needs floating point; the quantizer is placed where it stops. Batch normalization and
activation functions make no requests, so that convolution, batch normalization and activation stay one operation. The
same holds for a convolution and the sum that it goes into, and for an activation function that is written out with
operators. Operators on the way into a logarithm, a root or a divisor make no requests either, see
:mod:`~keras_compress.graph.dynamic_range`, nor do frozen layers that are steps of signal processing.

Which nodes run in integers is decided by the caller, :class:`~keras_compress.algorithms.quantization.Quantization`;
whether those of a finished model do, by :mod:`~keras_compress.graph.integer_computation`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from keras_compress.graph.activations import LINEAR
from keras_compress.graph.dynamic_range import nodes_of_full_range
from keras_compress.graph.frozen_preprocessing import frozen_preprocessing
from keras_compress.graph.layer_spec import LayerRole
from keras_compress.graph.view import OUTPUT, GraphNode, ModelGraph, NodeRef, TensorRef

__all__ = ["QuantizationPoint", "quantization_points"]


@dataclass(frozen=True)
class QuantizationPoint:
    """One range: the tensors that share it, and the nodes that read them quantized."""

    sources: tuple[TensorRef, ...]
    consumers: tuple[NodeRef, ...]


def quantization_points(
    graph: ModelGraph,
    in_integers: Callable[[GraphNode], bool],
    *,
    outputs: bool = False,
    preprocessing: Collection[str] | None = None,
) -> list[QuantizationPoint]:
    """Return the places for activation quantizers.

    Args:
        graph: the model.
        in_integers: whether a node can run in integers, so that its inputs are quantized.
        outputs: also quantize the outputs of the model.
        preprocessing: paths of the layers with weights that are steps of signal processing. Default: those that
            :func:`~keras_compress.graph.frozen_preprocessing.frozen_preprocessing` finds.

    Returns:
        Points in the order of the graph. The inputs of a concatenation form one point, so that they share a range.
    """
    found = frozen_preprocessing(graph) if preprocessing is None else preprocessing
    return _Placement(graph, in_integers, outputs, found).points()


class _Placement:
    def __init__(
        self,
        graph: ModelGraph,
        in_integers: Callable[[GraphNode], bool],
        outputs: bool,
        preprocessing: Collection[str],
    ):
        self._graph = graph
        self._in_integers = in_integers
        self._outputs = outputs
        self._passes: dict[NodeRef, bool] = {}
        self._depths: dict[TensorRef, int] = {}
        self._in_full_range = nodes_of_full_range(graph, preprocessing)
        self._outputs_of: dict[NodeRef, set[TensorRef]] = {}
        for node in graph.nodes.values():
            for tensor in node.inputs:
                self._outputs_of.setdefault(NodeRef(tensor.layer, tensor.node), set()).add(tensor)

    def points(self) -> list[QuantizationPoint]:
        requests: dict[TensorRef, list[NodeRef]] = {}
        for node in self._graph.nodes.values():
            for tensor in node.inputs:
                if (
                    self._graph.is_activation(tensor)
                    and self._requests(node.ref)
                    and not self._passes_request_on(tensor)
                    and tensor != self._fused_into_sum(node)
                ):
                    requests.setdefault(tensor, []).append(node.ref)
        if self._outputs:
            for ref in self._graph.nodes:
                for tensor in sorted(self._tensors_of(ref)):
                    sinks = [sink for sink in self._graph.consumers(tensor) if sink.layer == OUTPUT]
                    if sinks and self._graph.is_activation(tensor) and not self._passes_request_on(tensor):
                        requests.setdefault(tensor, []).extend(sinks)
        groups = self._shared_ranges(requests)
        merged: dict[TensorRef, list[TensorRef]] = {}
        for tensor in requests:
            merged.setdefault(groups.get(tensor, tensor), []).append(tensor)
        return [
            QuantizationPoint(tuple(sources), tuple(dict.fromkeys(ref for s in sources for ref in requests[s])))
            for sources in merged.values()
        ]

    def _tensors_of(self, ref: NodeRef) -> set[TensorRef]:
        return self._outputs_of.get(ref, set()) | {TensorRef(ref.layer, ref.node, 0)}

    def _requests(self, ref: NodeRef) -> bool:
        """Whether a consumer requests quantized inputs, for itself or on behalf of its consumers."""
        if ref.layer.endswith(OUTPUT):
            return self._outputs and ref.layer == OUTPUT
        node = self._graph.nodes[ref]
        if node.spec.moves_values:
            return self._all_consumers_request(node)
        return self._in_integers(node) and ref not in self._in_full_range and not self._is_activation(node)

    def _fused_into_sum(self, node: GraphNode) -> TensorRef | None:
        """Return the input of a sum that runtimes fuse into it: the output of a convolution without another consumer.

        A grid of its own would cost accuracy and time. Only one input can be fused: the one computed last.
        """
        if not node.spec.sum:
            return None
        candidates = [tensor for tensor in node.inputs if self._is_unread_product(tensor, node.ref)]
        return max(candidates, key=self._depth_of, default=None)

    def _is_unread_product(self, tensor: TensorRef, reader: NodeRef) -> bool:
        producer = self._graph.producer(tensor)
        only_reader = self._graph.consumers(tensor) == (reader,)
        if only_reader and producer.is_a("BatchNormalization"):
            return self._is_unread_product(producer.inputs[0], producer.ref)
        return only_reader and producer.spec.role is LayerRole.COMPUTE and producer.spec.activation is LINEAR

    def _depth_of(self, tensor: TensorRef) -> int:
        """Length of the longest way from an input to ``tensor``."""
        waiting = [tensor]
        while waiting:
            current = waiting[-1]
            inputs = self._graph.producer(current).inputs
            missing = [source for source in inputs if source not in self._depths]
            if missing:
                waiting += missing
            else:
                self._depths[current] = 1 + max((self._depths[source] for source in inputs), default=0)
                waiting.pop()
        return self._depths[tensor]

    def _is_activation(self, node: GraphNode) -> bool:
        """Whether a product is an activation function written out, ``x * g(x)``, as hard-swish or swish are."""
        if node.spec.role is not LayerRole.MERGE or len(set(node.inputs)) != 2:
            return False
        one, other = node.inputs[0], node.inputs[-1]
        return other in self._elementwise_ancestors(one) or one in self._elementwise_ancestors(other)

    def _elementwise_ancestors(self, tensor: TensorRef) -> set[TensorRef]:
        """The tensors from which ``tensor`` is computed by elementwise functions of one tensor."""
        found: set[TensorRef] = set()
        while True:
            producer = self._graph.producer(tensor)
            if producer.spec.role is not LayerRole.OTHER or producer.spec.weights or len(producer.inputs) != 1:
                return found
            tensor = producer.inputs[0]
            found.add(tensor)

    def _all_consumers_request(self, node: GraphNode) -> bool:
        if node.ref not in self._passes:
            self._passes[node.ref] = False  # guards against recursion; the graph is acyclic
            readers = [ref for tensor in self._tensors_of(node.ref) for ref in self._graph.consumers(tensor)]
            self._passes[node.ref] = bool(readers) and all(self._requests(ref) for ref in readers)
        return self._passes[node.ref]

    def _passes_request_on(self, tensor: TensorRef) -> bool:
        """Whether the request on ``tensor`` moves up to the inputs of its producer."""
        producer = self._graph.producer(tensor)
        return producer.spec.moves_values and bool(producer.inputs) and self._all_consumers_request(producer)

    def _shared_ranges(self, requests: dict[TensorRef, list[NodeRef]]) -> dict[TensorRef, TensorRef]:
        """Map each tensor that a concatenation joins with others to the first tensor of its group."""
        root: dict[TensorRef, TensorRef] = {tensor: tensor for tensor in requests}

        def find(tensor: TensorRef) -> TensorRef:
            while root[tensor] != tensor:
                tensor = root[tensor]
            return tensor

        for node in self._graph.nodes.values():
            if node.spec.role is LayerRole.CONCAT and self._all_consumers_request(node):
                sources = [source for tensor in node.inputs for source in self._sources(tensor) if source in root]
                for other in sources[1:]:
                    root[find(other)] = find(sources[0])
        return {tensor: find(tensor) for tensor in requests}

    def _sources(self, tensor: TensorRef) -> list[TensorRef]:
        """Return the quantized tensors from which layers that only move values produce ``tensor``."""
        if not self._passes_request_on(tensor):
            return [tensor]
        return [source for inner in self._graph.producer(tensor).inputs for source in self._sources(inner)]
