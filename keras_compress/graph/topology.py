"""Topology of a model: its first and last layers with weights, and the shortcuts around residual blocks.

Boundaries of nested models are crossed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from keras_compress.graph.layer_spec import LayerRole
from keras_compress.graph.view import GraphNode, ModelGraph, TensorRef

__all__ = ["first_compute_layers", "last_compute_layers", "reached_from_inputs", "shortcut_layers"]


def first_compute_layers(graph: ModelGraph) -> set[str]:
    """Return the layers with weights that no other such layer precedes."""
    reached = reached_from_inputs(graph, lambda node: not _computes(node))
    return {node.ref.layer for node in graph.nodes.values() if _computes(node) and not reached.isdisjoint(node.inputs)}


def reached_from_inputs(graph: ModelGraph, passes: Callable[[GraphNode], bool]) -> set[TensorRef]:
    """Return the inputs of the model and what is computed from them, up to the nodes that do not pass.

    Args:
        graph: the model.
        passes: whether what a node makes is reached if one of its inputs is.
    """
    read = graph.backward([tensor for node in graph.nodes.values() for tensor in node.inputs], passes)
    made_from: dict[TensorRef, list[TensorRef]] = defaultdict(list)
    for tensor in read:
        if passes(graph.producer(tensor)):
            for source in graph.predecessors(tensor):
                made_from[source].append(tensor)
    waiting = [tensor for tensor in read if tensor.layer in graph.model_inputs]
    reached = set(waiting)
    for tensor in waiting:
        fresh = [made for made in made_from[tensor] if made not in reached]
        reached.update(fresh)
        waiting += fresh
    return reached


def last_compute_layers(graph: ModelGraph, *, skipped: frozenset[str] = frozenset()) -> set[str]:
    """Return the layers with weights that no other such layer follows.

    Args:
        graph: the model.
        skipped: classes of layers that do not count, as ``{"Dense"}`` for the last convolutions.
    """
    found = _computing_before(graph, graph.outputs(), skipped)
    earlier: set[str] = set()
    waiting = set(found)
    while waiting:
        inputs = [tensor for node in graph.nodes.values() if node.ref.layer in waiting for tensor in node.inputs]
        waiting = _computing_before(graph, inputs, frozenset()) - earlier
        earlier |= waiting
    return found - earlier


def shortcut_layers(graph: ModelGraph) -> set[str]:
    """Return the layers with weights on the shorter branch of a residual block, such as projection shortcuts."""
    found: set[str] = set()
    for node in graph.nodes.values():
        if not node.spec.sum:
            continue
        branches = [dict(_chain_before(graph, tensor)) for tensor in node.inputs]
        for branch in branches:
            for other in branches:
                fork = next((tensor for tensor in branch if tensor in other), None)
                if fork is not None and len(branch[fork]) < len(other[fork]):
                    found.update(branch[fork])
    return found


def _computes(node: GraphNode) -> bool:
    return node.spec.role is LayerRole.COMPUTE


def _computing_before(graph: ModelGraph, tensors: Iterable[TensorRef], skipped: frozenset[str]) -> set[str]:
    """Return the nearest layers with weights before ``tensors``, classes in ``skipped`` not counted."""

    def counts(node: GraphNode) -> bool:
        return _computes(node) and not node.is_a(*skipped)

    reached = graph.backward(tensors, lambda producer: not counts(producer))
    return {tensor.layer for tensor in reached if counts(graph.producer(tensor))}


def _chain_before(graph: ModelGraph, tensor: TensorRef) -> Iterator[tuple[TensorRef, tuple[str, ...]]]:
    """Yield the unique chain of predecessors of ``tensor``, each with the weighted layers passed on the way."""
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
