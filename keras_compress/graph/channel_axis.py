"""Which axis of an activation holds its channels, by the layers around it.

The channel axes of a weight are in its row of :mod:`~keras_compress.graph.layer_table`. Layers and operators that
rearrange axes end the search: nothing is known on their other side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from keras_compress.graph.identity import is_own
from keras_compress.graph.view import GraphNode, ModelGraph, NodeRef, TensorRef
from keras_compress.layers import OperatorCall

__all__ = ["channel_axis"]

_FIRST, _LAST = 1, -1


def channel_axis(graph: ModelGraph, sources: Sequence[TensorRef], consumers: Iterable[NodeRef]) -> int:
    """Return 1 where the channels of some tensors come first behind the samples, else -1.

    The nearest layers that have channels decide: those that read the tensors, then those that made them.

    Args:
        graph: the model.
        sources: the tensors.
        consumers: the nodes that read them.

    Example:
        >>> from keras_compress._keras import keras
        >>> from keras_compress.graph import take
        >>> layers = [keras.Input((3, 8, 8), name="x"), keras.layers.ReLU(name="relu")]
        >>> layers.append(keras.layers.Conv2D(4, 3, data_format="channels_first", name="conv"))
        >>> channel_axis(ModelGraph(take(keras.Sequential(layers))), [TensorRef("relu", 0, 0)], [NodeRef("conv", 0)])
        1
    """
    readers = [graph.nodes[ref] for ref in consumers if ref in graph.nodes]
    found = _of_readers(graph, readers) or _of_makers(graph, sources)
    return found or _LAST


def _of_readers(graph: ModelGraph, waiting: list[GraphNode]) -> int | None:
    seen = set()
    while waiting:
        node = waiting.pop(0)
        axis = _axis(node)
        if axis is not None:
            return axis
        if node.ref in seen or _rearranges(node):
            continue
        seen.add(node.ref)
        after = graph.consumers(TensorRef(node.ref.layer, node.ref.node, 0))
        waiting += [graph.nodes[ref] for ref in after if ref in graph.nodes]
    return None


def _of_makers(graph: ModelGraph, sources: Sequence[TensorRef]) -> int | None:
    def goes_on(producer: GraphNode) -> bool:
        return _axis(producer) is None and not _rearranges(producer)

    axes = (_axis(graph.producer(tensor)) for tensor in graph.backward(sources, goes_on))
    return next((axis for axis in axes if axis is not None), None)


def _axis(node: GraphNode) -> int | None:
    """Return the axis of channels of a layer that has them, None for a layer that takes them as they come."""
    if _rearranges(node):
        return None
    data_format = node.config.get("data_format")
    if data_format is not None:
        return _FIRST if data_format == "channels_first" else _LAST
    if node.is_a("BatchNormalization"):
        axis = node.config["axis"]
        return _FIRST if axis in (1, [1], (1,)) else _LAST
    return _LAST if node.spec.weights else None


def _rearranges(node: GraphNode) -> bool:
    """Whether a layer may change which axis is which; one with weights or a format of its data says where channels are."""
    return node.spec.rearranges or is_own(node.entry, OperatorCall) or (node.is_unknown and not node.spec.weights)
