"""Ways back through a model: what a tensor is made from, borders of nested models crossed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from keras_compress.graph.view import GraphNode, ModelGraph, TensorRef

__all__ = ["sources_of", "walk_back"]


def walk_back(graph: ModelGraph, tensors: Iterable[TensorRef], goes_on: Callable[[GraphNode], bool]) -> list[TensorRef]:
    """Return every tensor on the ways back from ``tensors``, up to those whose producers end the way."""
    reached = list(dict.fromkeys(tensors))
    seen = set(reached)
    for tensor in reached:
        if goes_on(graph.producer(tensor)):
            fresh = [source for source in sources_of(graph, tensor) if source not in seen]
            seen.update(fresh)
            reached += fresh
    return reached


def sources_of(graph: ModelGraph, tensor: TensorRef) -> list[TensorRef]:
    """Return the tensors that ``tensor`` is made from: of an output of a nested model what it is inside, of its input what
    the model is called on, by any of its calls.
    """
    inside = graph.made_inside(tensor)
    if inside is not None:
        return [inside]
    node = graph.producer(tensor)
    outer = node.scope[:-1]
    if node.ref.layer not in graph.nested_inputs.get(outer, ()):
        return list(node.inputs)
    position = graph.nested_inputs[outer].index(node.ref.layer)
    calls = [call for call in graph.nodes.values() if call.ref.layer == outer]
    return [call.inputs[position] for call in calls if position < len(call.inputs)]
