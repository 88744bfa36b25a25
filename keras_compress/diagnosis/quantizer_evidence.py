"""QuantizerEvidence: what a quantizer maps, how its grid fits to that, and how large its own error is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.algorithms import BoundOp
from keras_compress.calibration.layer_hooks import hooked_calls
from keras_compress.calibration.model_states import fresh_states
from keras_compress.data import pack_inputs
from keras_compress.graph import ModelGraph, take
from keras_compress.graph.integer_computation import quantizers_before_layers
from keras_compress.layers import FakeQuantize
from keras_compress.layers.float_computation import computing_in_float

__all__ = ["QuantizerEvidence", "gather"]

#: How many values of a tensor are kept, of each batch.
KEPT = 2**16


@dataclass
class QuantizerEvidence:
    """What is known of a quantizer.

    Attributes:
        op: the quantizer.
        layer: path of the layer whose weight it maps, or of the first of those whose outputs it maps.
        weight: path of the weight, None for an activation.
        sources: paths of the layers whose outputs it maps, in the order of its calls; empty for a weight.
        readers: paths of the layers that compute with what it returns; for a weight its own layer.
        maps_inputs: whether it maps inputs of the model.
        values: some of the values in floating point, by call.
        lows, highs: extremes by call and channel; the channels are the last axis.
        count: how many values there are.
        signal, error: power of the values and of the difference that the quantizer makes; of a weight by channel.
        beyond: power of the difference at values beyond its range.
    """

    op: FakeQuantize
    layer: str
    weight: str | None
    sources: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    maps_inputs: bool = False
    values: dict[int, list[np.ndarray]] = field(default_factory=dict)
    lows: dict[int, np.ndarray] = field(default_factory=dict)
    highs: dict[int, np.ndarray] = field(default_factory=dict)
    count: int = 0
    signal: np.ndarray = field(default_factory=lambda: np.zeros(()))
    error: np.ndarray = field(default_factory=lambda: np.zeros(()))
    beyond: float = 0.0

    def add(self, call: int, array: np.ndarray, quantized: np.ndarray) -> None:
        """Take a tensor in floating point, and the same behind the quantizer, into account."""
        flat = array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1).astype(np.float64)
        low, high = self.ends()
        difference = (quantized.astype(np.float64) - array) ** 2
        self.count += array.size
        axis = None if self.weight is None else 0
        self.signal = self.signal + np.sum(flat**2, axis=axis)
        self.error = self.error + np.sum(difference.reshape(flat.shape), axis=axis)
        self.beyond += float(np.sum(difference[(array < low) | (array > high)]))
        self.values.setdefault(call, []).append(array.reshape(-1)[:: max(array.size // KEPT, 1)])
        for kept, found, join in (
            (self.lows, flat.min(axis=0), np.minimum),
            (self.highs, flat.max(axis=0), np.maximum),
        ):
            kept[call] = join(kept[call], found) if call in kept else found

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the range, shaped to go with the tensor."""
        low, high = (np.asarray(end) for end in self.op.range())
        return low, high

    @property
    def relative_error(self) -> float:
        """Power of the quantizer's own error over that of the signal: of a weight the mean over channels, which a normalization
        behind them brings to one scale; else of all values together."""
        return float(np.mean(np.divide(self.error, self.signal, out=np.zeros_like(self.error), where=self.signal > 0)))

    @property
    def share_beyond(self) -> float:
        """Share of the error at values beyond the range, in [0, 1]."""
        error = float(np.sum(self.error))
        return self.beyond / error if error else 0.0

    @property
    def all_values(self) -> np.ndarray:
        """Some of the values of all calls, in a row."""
        return np.concatenate([part for parts in self.values.values() for part in parts]).astype(np.float64)

    @property
    def reached(self) -> float:
        """Distance of the lowest to the highest value, zero included."""
        low = min(float(found.min()) for found in self.lows.values())
        high = max(float(found.max()) for found in self.highs.values())
        return max(high, 0.0) - min(low, 0.0)

    def spreads(self) -> np.ndarray:
        """Return for each channel of all calls the distance of its lowest to its highest value, zero included."""
        pairs = [(self.lows[call], self.highs[call]) for call in self.lows]
        return np.concatenate([np.maximum(high, 0) - np.minimum(low, 0) for low, high in pairs])

    def spreads_by_call(self) -> np.ndarray:
        """Return for each call the distance of its lowest to its highest value, zero included."""
        return np.array([max(self.highs[c].max(), 0.0) - min(self.lows[c].min(), 0.0) for c in self.lows])


def gather(
    parts: Sequence[BoundOp], model: keras.Model, inputs: Sequence[str], batches: Sequence[Sequence[Any]]
) -> list[QuantizerEvidence]:
    """Return what is known of every quantizer of a compressed model.

    Args:
        parts: its operations.
        model: the compressed model.
        inputs: names of the inputs of the model.
        batches: samples in floating point, one array per input each.
    """
    readers: dict[str, list[str]] = {}
    for layer, quantizers in quantizers_before_layers(ModelGraph(take(model))).items():
        for quantizer in quantizers:
            readers.setdefault(quantizer, []).append(layer)
    found = []
    on_activations: dict[keras.layers.Layer, QuantizerEvidence] = {}
    for bound in parts:
        if not isinstance(bound.op, FakeQuantize):
            continue
        if bound.weight is not None:
            evidence = QuantizerEvidence(bound.op, bound.layer, bound.weight, readers=(bound.layer,))
            array = bound.weight_array()
            evidence.add(0, array, bound.op.apply(tf.constant(array), False).numpy())
        else:
            read = tuple(readers.get(bound.layer, ()))
            maps_inputs = all(source in inputs for source in bound.sources)
            evidence = QuantizerEvidence(bound.op, bound.sources[0], None, bound.sources, read, maps_inputs)
            on_activations[bound.op] = evidence
        found.append(evidence)
    _watch(model, on_activations, batches)
    return [evidence for evidence in found if evidence.lows]


def _watch(
    model: keras.Model, watched: Mapping[keras.layers.Layer, QuantizerEvidence], batches: Sequence[Sequence[Any]]
) -> None:
    """Run a model in floating point and show what comes to its quantizers."""
    calls: dict[keras.layers.Layer, int] = {}

    def note(layer: FakeQuantize, call: Any, inputs: Any, *others: Any, **arguments: Any) -> Any:
        number = calls[layer] = calls.get(layer, -1) + 1
        array = tf.cast(inputs, tf.float32)
        watched[layer].add(number, array.numpy(), layer.apply(array, False).numpy())
        return call(inputs, *others, **arguments)

    with hooked_calls({layer: partial(note, layer) for layer in watched}), computing_in_float():
        for batch in batches:
            calls.clear()
            with fresh_states(model):
                model(pack_inputs(model, [tf.constant(array) for array in batch]), training=False)
