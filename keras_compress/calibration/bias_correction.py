"""Fast bias correction: what quantized weights add to the mean of a layer's output is taken off its bias.

A kernel on a grid differs from the kernel by a small constant, and a constant times inputs that are not centered shifts
the mean of the outputs. A convolution is linear, so the shift follows from the mean of the inputs alone: every batch of the
calibration adds one more sample to the work, not a second model. Each layer is corrected by itself, as if the layers before
it were exact; the shift that quantized activations cause is left to
:mod:`~keras_compress.calibration.sequential_bias_correction`.

Source: Nagel et al. 2019, arXiv:1906.04721; Finkelstein et al. 2019, arXiv:1906.03193.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.calibration.data_pass import Rows
from keras_compress.calibration.linear_part import hooked_calls, linear_part, mean_over_positions
from keras_compress.graph.bias_carriers import BiasCarrier
from keras_compress.graph.variables import leaf_layers, named_variables
from keras_compress.layers import CompressedLayer

__all__ = ["CorrectedLayer", "FastBiasCorrection", "corrected_layers"]


@dataclass(frozen=True)
class CorrectedLayer:
    """A compressed layer whose bias can be corrected.

    Attributes:
        carrier: where its bias is.
        wrapper: the living layer.
        bias: the variable.
    """

    carrier: BiasCarrier
    wrapper: CompressedLayer
    bias: tf.Variable

    def add(self, shift: np.ndarray) -> None:
        """Add a constant in the shape of the bias to what the layer makes."""
        self.bias.assign_add(tf.cast(self.carrier.sign * shift, self.bias.dtype))


def corrected_layers(model: keras.Model, carriers: Mapping[str, BiasCarrier]) -> list[CorrectedLayer]:
    """Return the layers of a compressed model that have a carrier and a compressed kernel, in the order of the model."""
    layers = dict(leaf_layers(model))
    found = []
    for path, wrapper in layers.items():
        carrier = carriers.get(path)
        if carrier is not None and isinstance(wrapper, CompressedLayer) and carrier.weight in wrapper.weight_paths:
            owner = layers[carrier.owner]
            owner = owner.layer if isinstance(owner, CompressedLayer) else owner
            found.append(CorrectedLayer(carrier, wrapper, named_variables(owner)[carrier.variable]))
    return found


class FastBiasCorrection:
    """Measures shifts of means during a pass over data, as a :class:`~.data_pass.DataObserver`, and corrects biases.

    Args:
        layers: what to correct; their weight quantizers have their ranges already.
        samples: how many samples to measure on.
    """

    def __init__(self, layers: list[CorrectedLayer], samples: int):
        self.samples = samples
        self._layers = layers
        self._errors = [_weight_error(layer) for layer in layers]
        self._shifts = [tf.Variable(tf.zeros(layer.bias.shape, tf.float64)) for layer in layers]
        self._weights = [tf.Variable(0.0, dtype=tf.float64) for _ in layers]

    def attached(self) -> AbstractContextManager:
        return hooked_calls({layer.wrapper.layer: partial(self._note, i) for i, layer in enumerate(self._layers)})

    def begin(self, rows: Rows) -> None:
        self._rows = rows
        self._counted = rows.counted(self.samples)

    def _note(self, index: int, call, inputs):
        corrected, samples = self._layers[index], self._rows.of(inputs, self._counted)
        samples = tf.cast(samples, tf.float32)
        count = tf.cast(tf.shape(samples)[0], tf.float64)
        # With no sample in the batch the mean is of nothing, and counts for nothing.
        mean = tf.reduce_sum(samples, 0, keepdims=True) / tf.cast(tf.maximum(count, 1.0), tf.float32)
        outputs = linear_part(corrected.wrapper.layer, mean, self._errors[index], corrected.carrier.weight)
        shift = mean_over_positions(corrected.wrapper.layer, outputs, corrected.bias.shape)
        self._shifts[index].assign_add(tf.cast(shift, tf.float64) * count)
        self._weights[index].assign_add(count)
        return call(inputs)

    def assign(self) -> None:
        """Take the shifts that were measured off the biases."""
        for layer, shift, weight in zip(self._layers, self._shifts, self._weights, strict=True):
            if weight.numpy() > 0:
                layer.add(-shift.numpy() / weight.numpy())


def _weight_error(layer: CorrectedLayer) -> tf.Tensor:
    """Return the quantized kernel minus the kernel."""
    weight = layer.carrier.weight
    kernel = tf.cast(tf.convert_to_tensor(named_variables(layer.wrapper.layer)[weight]), tf.float32)
    return layer.wrapper.compressed_weight(weight) - kernel
