"""Cross-layer equalization: bring the channels between two layers to ranges of the same order, without changing the model.

One range per tensor serves a channel badly whose values are much smaller than those of another. Behind a layer and a
rectifier a channel can be divided by any positive factor if the next layer multiplies it by the same factor: the model
computes what it did, and is easier to quantize. Depthwise networks gain most.

Source: Nagel et al. 2019, arXiv:1906.04721, section 4.1. Channels are compared by what batch normalization makes of them
(shift plus three standard deviations) where there is one, because weights have a range for every channel here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from keras_compress.graph.normalized_layers import normalized_layers
from keras_compress.graph.snapshot import ModelSnapshot, entries
from keras_compress.graph.view import GraphNode, ModelGraph, NodeRef, TensorRef

__all__ = ["EqualizedPair", "equalize_channels", "equalized_pairs"]

#: The axis of the kernel that indexes the output channels, and the one that indexes the input channels.
_CONVOLUTIONS = {f"Conv{rank}D": ("kernel", -1, -2) for rank in (1, 2, 3)}
_DEPTHWISE = {f"DepthwiseConv{rank}D": ("depthwise_kernel", -2, -2) for rank in (1, 2)}
_KERNELS = {**_CONVOLUTIONS, **_DEPTHWISE}
#: Layers behind which a channel that was divided by a factor is still the same channel divided by it.
_PASSING = {"Dropout", *(f"{kind}{rank}D" for kind in ("SpatialDropout", "ZeroPadding") for rank in (1, 2, 3))}
_PASSING |= {f"{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)}
_SCALABLE_ACTIVATIONS = ("linear", "relu", "leaky_relu")
SWEEPS = 20


@dataclass(frozen=True)
class EqualizedPair:
    """Two layers that can exchange a factor per channel: paths of the layers, and of the normalization behind the first."""

    first: str
    second: str
    normalization: str | None


def equalize_channels(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Return the same function with channels of equal ranges between every two layers that allow it.

    Args:
        snapshot: a model that is not compressed.
    """
    graph = ModelGraph(snapshot)
    weights = {path: dict(arrays) for path, arrays in snapshot.weights.items()}
    kinds = {path: node.class_name for path, node in graph.layers()}
    pairs = equalized_pairs(graph)
    for _ in range(SWEEPS):
        for pair in pairs:
            _equalize(pair, kinds, weights)
    return snapshot.with_weights(weights)


def equalized_pairs(graph: ModelGraph) -> list[EqualizedPair]:
    """Return every two convolutions between which channels can be equalized, in the order of the graph."""
    normalizations = {layers[0]: path for path, layers in normalized_layers(graph).items() if len(layers) == 1}
    once = _used_once(graph)
    pairs = []
    for node in graph.nodes.values():
        path = node.ref.layer
        if not _is_convolution(node) or path not in once or not _is_scalable(node):
            continue
        normalization = normalizations.get(path)
        if normalization is not None and (
            normalization not in once or not {"gamma", "beta"} <= set(graph.snapshot.weights[normalization])
        ):
            continue
        second = _reader_behind(graph, TensorRef(*node.ref, 0), normalization)
        if second is not None and _is_convolution(second) and second.ref.layer in once:
            pairs.append(EqualizedPair(path, second.ref.layer, normalization))
    return pairs


def _used_once(graph: ModelGraph) -> set[str]:
    """Return the paths of layers that are called once and belong to one model."""
    calls = Counter(node.ref.layer for node in graph.nodes.values())
    made_by = {path: entry.get("registered_name") for path, entry in entries(graph.snapshot.config)}
    makers = Counter(made_by.values())
    shared = {path for path, name in made_by.items() if name in graph.snapshot.custom_objects and makers[name] > 1}
    return {path for path, count in calls.items() if count == 1} - shared


def _is_convolution(node: GraphNode) -> bool:
    config = node.config
    plain = config.get("groups", 1) == 1 and config.get("data_format") == "channels_last"
    once = node.class_name not in _DEPTHWISE or config.get("depth_multiplier", 1) == 1
    return node.is_a(*_KERNELS) and plain and once


def _is_scalable(node: GraphNode) -> bool:
    """Whether a layer's activation function commutes with positive factors."""
    config = node.config
    if node.class_name == "ReLU":
        return config.get("max_value") is None and not config.get("threshold")
    return node.class_name == "LeakyReLU" or config.get("activation") in _SCALABLE_ACTIVATIONS


def _hands_channels_on(node: GraphNode) -> bool:
    return node.class_name in _PASSING and node.config.get("data_format") != "channels_first"


def _reader_behind(graph: ModelGraph, tensor: TensorRef, normalization: str | None) -> GraphNode | None:
    """Return the only layer that reads a tensor behind layers that let a factor through."""
    while True:
        readers = graph.consumers(tensor)
        node = graph.nodes.get(readers[0]) if len(readers) == 1 else None
        if node is None or not node.builtin:
            return None
        passes = node.ref.layer == normalization or _hands_channels_on(node)
        if not passes and not (node.class_name in ("ReLU", "LeakyReLU", "Activation") and _is_scalable(node)):
            return node
        tensor = TensorRef(*NodeRef(node.ref.layer, node.ref.node), 0)


def _equalize(pair: EqualizedPair, kinds: dict[str, str], weights: dict[str, dict[str, np.ndarray]]) -> None:
    first, axis, _ = _KERNELS[kinds[pair.first]]
    second, _, input_axis = _KERNELS[kinds[pair.second]]
    before, after = weights[pair.first], weights[pair.second]
    if pair.normalization is None:
        made = _largest(before[first], axis)
    else:
        arrays = weights[pair.normalization]
        made = np.abs(arrays["beta"]) + 3 * np.abs(arrays["gamma"])
    read = _largest(after[second], input_axis)
    usable = (made > 0) & (read > 0)
    factor = np.sqrt(np.divide(made, read, out=np.ones_like(made), where=usable)).astype(np.float32)
    factor[usable] /= np.exp(np.mean(np.log(factor[usable]))) if usable.any() else 1.0
    if pair.normalization is None:
        before[first] = before[first] / _along(factor, before[first].ndim, axis)
        if "bias" in before:
            before["bias"] = before["bias"] / factor
    else:
        arrays["gamma"], arrays["beta"] = arrays["gamma"] / factor, arrays["beta"] / factor
    after[second] = after[second] * _along(factor, after[second].ndim, input_axis)


def _largest(kernel: np.ndarray, axis: int) -> np.ndarray:
    """Return the largest magnitude for each index of an axis."""
    return np.abs(np.moveaxis(kernel, axis, -1)).reshape(-1, kernel.shape[axis]).max(axis=0)


def _along(values: np.ndarray, rank: int, axis: int) -> np.ndarray:
    return values.reshape([-1 if index == axis % rank else 1 for index in range(rank)])
