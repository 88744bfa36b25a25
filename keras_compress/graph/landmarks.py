"""Landmarks of a model: the layers that see its inputs first, those nearest to its outputs, the shortcuts around blocks.

Borders of nested models are crossed: what matters is the way of the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keras_compress.graph.layer_specs import LayerRole
from keras_compress.graph.view import GraphNode, ModelGraph, TensorRef

__all__ = ["first_compute_layers", "last_compute_layers", "shortcut_layers"]

_SUMS = ("math.add", "__operators__.add")


def first_compute_layers(graph: ModelGraph) -> set[str]:
    """Return the layers with weights that see the model's inputs before any other such layer does."""
    return {node.ref.layer for node in graph.nodes.values() if _computes(node) and _sees_input(graph, node)}


def last_compute_layers(graph: ModelGraph, *, behind: frozenset[str] = frozenset()) -> set[str]:
    """Return the layers with weights behind which no other such layer comes.

    Args:
        graph: the model.
        behind: classes of layers that are looked through, as ``{"Dense"}`` for the last convolutions.
    """
    found = _computing_before(graph, graph.outputs(), behind)
    earlier: set[str] = set()
    waiting = set(found)
    while waiting:
        inputs = [tensor for node in graph.nodes.values() if node.ref.layer in waiting for tensor in node.inputs]
        waiting = _computing_before(graph, inputs, frozenset()) - earlier
        earlier |= waiting
    return found - earlier


def shortcut_layers(graph: ModelGraph) -> set[str]:
    """Return the layers with weights on the shorter way around a residual block, as convolutions that change its size."""
    found: set[str] = set()
    for node in graph.nodes.values():
        if not node.is_a("Add") and node.operator not in _SUMS:
            continue
        ways = [dict(_way_back(graph, tensor)) for tensor in node.inputs]
        for way in ways:
            for other in ways:
                fork = next((tensor for tensor in way if tensor in other), None)
                if fork is not None and len(way[fork]) < len(other[fork]):
                    found.update(way[fork])
    return found


def _computes(node: GraphNode) -> bool:
    return node.spec.role is LayerRole.COMPUTE


def _sees_input(graph: ModelGraph, node: GraphNode) -> bool:
    """Whether there is a way back from a node to an input of the model without a layer with weights on it."""
    return any(
        tensor.layer in graph.model_inputs
        for tensor in graph.backward(node.inputs, lambda producer: not _computes(producer))
    )


def _computing_before(graph: ModelGraph, tensors: Iterable[TensorRef], behind: frozenset[str]) -> set[str]:
    """Return the first layers with weights on every way back from ``tensors``, classes in ``behind`` not counted."""

    def counts(node: GraphNode) -> bool:
        return _computes(node) and not node.is_a(*behind)

    reached = graph.backward(tensors, lambda producer: not counts(producer))
    return {tensor.layer for tensor in reached if counts(graph.producer(tensor))}


def _way_back(graph: ModelGraph, tensor: TensorRef) -> Iterator[tuple[TensorRef, tuple[str, ...]]]:
    """Yield the tensors before ``tensor`` while there is one way, each with the layers with weights that lie behind it."""
    layers: tuple[str, ...] = ()
    while True:
        yield tensor, layers
        node = graph.producer(tensor)
        if _computes(node):
            layers = (*layers, node.ref.layer)
        sources = graph.predecessors(tensor)
        if len(sources) != 1:
            return
        tensor = sources[0]
