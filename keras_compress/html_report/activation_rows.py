"""Activations of a compressed model that are quantized or binary, one row for each: bits, range, and who reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_compress._keras import keras
from keras_compress.graph import ModelGraph, TensorRef, take
from keras_compress.graph.integer_computation import quantizers_before_layers
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import BinaryActivation, FakeQuantize

__all__ = ["ActivationRow", "activation_rows"]


@dataclass(frozen=True)
class ActivationRow:
    """A quantizer of activations.

    Attributes:
        path: of the quantizer.
        bits: of its grid; 1 if it is binary, 32 if it is not yet.
        ranges: 1, or the number of channels.
        low, high: lowest and highest level over all channels.
        readers: paths of the layers that compute with what it makes.
    """

    path: str
    bits: int
    ranges: int
    low: float
    high: float
    readers: tuple[str, ...]


def activation_rows(model: keras.Model) -> tuple[ActivationRow, ...]:
    """Return the quantizers of activations in the order of a model; it is only read."""
    graph = ModelGraph(take(model))
    before = quantizers_before_layers(graph)
    rows = []
    for path, layer in leaf_layers(model):
        if isinstance(layer, FakeQuantize):
            readers = [reader for reader, quantizers in before.items() if path in quantizers]
        else:
            readers = [reader.layer for reader in graph.consumers(TensorRef(path, 0, 0))]
        row = _row(path, layer, tuple(dict.fromkeys(readers)))
        rows += [] if row is None else [row]
    return tuple(rows)


def _row(path: str, layer: keras.layers.Layer, readers: tuple[str, ...]) -> ActivationRow | None:
    if isinstance(layer, FakeQuantize):
        low, high = (np.asarray(end) for end in layer.range())
        return ActivationRow(path, layer.num_bits, low.size, float(low.min()), float(high.max()), readers)
    if isinstance(layer, BinaryActivation):
        scale, thresholds = layer.levels()
        bits = 1 if bool(layer.active.numpy()) else 32
        return ActivationRow(path, bits, int(np.size(thresholds)), 0.0, float(scale), readers)
    return None
