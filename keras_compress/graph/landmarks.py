"""Landmarks of a model: the layers that see its inputs first, those nearest to its outputs, the shortcuts around blocks."""

from __future__ import annotations

from collections.abc import Iterator

from keras_compress.graph.layer_specs import LayerRole
from keras_compress.graph.view import GraphNode, ModelGraph, TensorRef

__all__ = ["first_compute_layers", "last_compute_layers", "shortcut_layers"]

_SUMS = ("Add", "math.add", "__operators__.add")


def first_compute_layers(graph: ModelGraph) -> set[str]:
    """Return the layers with weights that see the model's inputs before any other such layer does."""
    found: set[str] = set()
    reached = [TensorRef(name, 0, 0) for name in graph.model_inputs]
    seen = set(reached)
    while reached:
        for ref in graph.consumers(reached.pop()):
            node = graph.nodes.get(ref)
            if node is None:
                continue
            if node.spec.role is LayerRole.COMPUTE:
                found.add(ref.layer)
                continue
            inside = graph.nested_inputs.get(ref.layer, ())
            for tensor in [TensorRef(name, 0, 0) for name in inside] or [TensorRef(ref.layer, ref.node, 0)]:
                if tensor not in seen:
                    seen.add(tensor)
                    reached.append(tensor)
    return found


def last_compute_layers(graph: ModelGraph, *, behind: frozenset[str] = frozenset()) -> set[str]:
    """Return the layers with weights behind which no other such layer comes.

    Args:
        graph: the model.
        behind: classes of layers that are looked through, as ``{"Dense"}`` for the last convolutions.
    """
    found: set[str] = set()
    reached = graph.outputs()
    seen = set(reached)
    while reached:
        node = graph.producer(reached.pop())
        if node.spec.role is LayerRole.COMPUTE and node.class_name not in behind:
            found.add(node.ref.layer)
            continue
        for tensor in (*graph.outputs(node.ref.layer + "/"), *node.inputs):
            if tensor not in seen:
                seen.add(tensor)
                reached.append(tensor)
    return found


def shortcut_layers(graph: ModelGraph) -> set[str]:
    """Return the layers with weights on the shorter way around a residual block, as convolutions that change its size."""
    found: set[str] = set()
    for node in graph.nodes.values():
        if node.class_name not in _SUMS and node.config.get("function") not in _SUMS:
            continue
        ways = [dict(_way_back(graph, tensor)) for tensor in node.inputs]
        for way in ways:
            for other in ways:
                fork = next((tensor for tensor in way if tensor in other), None)
                if fork is not None and len(way[fork]) < len(other[fork]):
                    found.update(way[fork])
    return found


def _way_back(graph: ModelGraph, tensor: TensorRef) -> Iterator[tuple[TensorRef, tuple[str, ...]]]:
    """Yield the tensors before ``tensor`` while there is one way, each with the layers with weights that lie behind it."""
    layers: tuple[str, ...] = ()
    while True:
        yield tensor, layers
        node: GraphNode = graph.producer(tensor)
        if len(node.inputs) != 1:
            return
        if node.spec.role is LayerRole.COMPUTE:
            layers = (*layers, node.ref.layer)
        tensor = node.inputs[0]
