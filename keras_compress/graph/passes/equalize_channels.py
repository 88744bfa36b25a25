"""Cross-layer equalization: bring the channels between two layers to ranges of the same order, without changing the model.

One range per tensor serves a channel badly whose values are much smaller than those of another. Behind a layer and a
rectifier a channel can be divided by any positive factor if the next layer multiplies it by the same factor: the model
computes what it did, and is easier to quantize. Depthwise networks gain most.

Source: Nagel et al. 2019, arXiv:1906.04721, section 4.1. Channels are compared after batch normalization (shift plus
three standard deviations) where there is one, because weights have a range for every channel here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_compress.graph.batch_norm_fusion import foldable_batch_norms
from keras_compress.graph.layer_spec import LayerSpec
from keras_compress.graph.snapshot import ModelSnapshot, entries
from keras_compress.graph.view import GraphNode, ModelGraph, TensorRef

__all__ = ["EqualizedPair", "equalize_channels", "equalized_pairs"]

#: How often every pair is equalized: along a chain of layers the factors converge.
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
    specs = {path: node.spec for path, node in graph.layers()}
    pairs = equalized_pairs(graph)
    for _ in range(SWEEPS):
        for pair in pairs:
            _equalize(pair, specs, weights)
    return snapshot.with_weights(weights)


def equalized_pairs(graph: ModelGraph) -> list[EqualizedPair]:
    """Return every two convolutions between which channels can be equalized, in the order of the graph."""
    normalizations = {layers[0]: path for path, layers in foldable_batch_norms(graph).items() if len(layers) == 1}
    once = _used_once(graph)
    pairs = []
    for node in graph.nodes.values():
        path = node.ref.layer
        spec = node.spec
        first = spec.convolution and spec.foldable and spec.activation.scales_with_input
        if not first or path not in once:
            continue
        normalization = normalizations.get(path)
        if normalization is not None and (
            normalization not in once or not {"gamma", "beta"} <= set(graph.snapshot.weights[normalization])
        ):
            continue
        second = _reader_behind(graph, TensorRef(*node.ref, 0), normalization)
        if second is not None and _takes_factors(second.spec) and second.ref.layer in once:
            pairs.append(EqualizedPair(path, second.ref.layer, normalization))
    return pairs


def _used_once(graph: ModelGraph) -> set[str]:
    """Return the paths of layers that are called once and belong to one model."""
    calls = Counter(node.ref.layer for node in graph.nodes.values())
    made_by = {path: entry.get("registered_name") for path, entry in entries(graph.snapshot.config)}
    makers = Counter(made_by.values())
    shared = {path for path, name in made_by.items() if name in graph.snapshot.custom_objects and makers[name] > 1}
    return {path for path, count in calls.items() if count == 1} - shared


def _takes_factors(spec: LayerSpec) -> bool:
    return spec.convolution and len(spec.weights) == 1 and spec.weights[0].input_axis is not None


def _reader_behind(graph: ModelGraph, tensor: TensorRef, normalization: str | None) -> GraphNode | None:
    """Return the only layer that reads a tensor behind layers that let a factor through."""
    while True:
        readers = graph.consumers(tensor)
        node = graph.nodes.get(readers[0]) if len(readers) == 1 else None
        if node is None:
            return None
        spec = node.spec
        passes = spec.keeps_channels and spec.scales_with_input and not spec.weights
        if not passes and node.ref.layer != normalization:
            return node
        tensor = TensorRef(*node.ref, 0)


def _equalize(pair: EqualizedPair, specs: dict[str, LayerSpec], weights: dict[str, dict[str, np.ndarray]]) -> None:
    [first] = specs[pair.first].weights
    [second] = specs[pair.second].weights
    before, after = weights[pair.first], weights[pair.second]
    if pair.normalization is None:
        made = _largest(before[first.path], first.channel_axes)
    else:
        arrays = weights[pair.normalization]
        made = np.abs(arrays["beta"]) + 3 * np.abs(arrays["gamma"])
    input_axes = () if second.input_axis is None else (second.input_axis,)
    read = _largest(after[second.path], input_axes)
    usable = (made > 0) & (read > 0)
    factor = np.sqrt(np.divide(made, read, out=np.ones_like(made), where=usable)).astype(np.float32)
    factor[usable] /= np.exp(np.mean(np.log(factor[usable]))) if usable.any() else 1.0
    if pair.normalization is None:
        before[first.path] = before[first.path] / _along(factor, before[first.path], first.channel_axes)
        if "bias" in before:
            before["bias"] = before["bias"] / factor
    else:
        arrays["gamma"], arrays["beta"] = arrays["gamma"] / factor, arrays["beta"] / factor
    after[second.path] = after[second.path] * _along(factor, after[second.path], input_axes)


def _largest(kernel: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Return the largest magnitude for each channel that ``axes`` index together."""
    kept = sorted(axis % kernel.ndim for axis in axes)
    others = tuple(axis for axis in range(kernel.ndim) if axis not in kept)
    return np.abs(kernel).max(axis=others).reshape(-1)


def _along(values: np.ndarray, kernel: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Return one value per channel in a shape that broadcasts to ``kernel``."""
    kept = {axis % kernel.ndim for axis in axes}
    return values.reshape([size if axis in kept else 1 for axis, size in enumerate(kernel.shape)])
