"""Bias correction: the shift that quantization causes in the mean of a layer's output is subtracted from its bias.

A kernel on a grid differs from the kernel by a small constant, and a constant times inputs that are not centered shifts
the mean of the outputs. Two ways: the *fast* one computes the shift of each layer from the mean of its inputs, as if
    the layers
before it were exact, in the pass that measures ranges. The *sequential* one corrects a layer when all before it are
corrected, so that the shift by quantized activations counts too; it takes as many partial passes as there are layers.

Source: Nagel et al. 2019, arXiv:1906.04721; Finkelstein et al. 2019, arXiv:1906.03193.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from keras_compress._keras import keras
from keras_compress.calibration.activation_capture import ActivationCapture
from keras_compress.calibration.layer_hooks import hooked_calls
from keras_compress.calibration.pre_activation import mean_over_positions, pre_activation
from keras_compress.calibration.statistics_pass import ValidRows
from keras_compress.data import Dataset
from keras_compress.graph.batch_norm_fusion import BiasLocation
from keras_compress.graph.variables import leaf_layers, named_variables
from keras_compress.layers import CompressedLayer

__all__ = ["CorrectedLayer", "FastBiasCorrection", "correct_biases_in_sequence", "corrected_layers"]


@dataclass(frozen=True)
class CorrectedLayer:
    """A compressed layer whose bias can be corrected.

    Attributes:
        location: where its bias is.
        wrapper: the live layer.
        bias: the variable.
    """

    location: BiasLocation
    wrapper: CompressedLayer
    bias: tf.Variable

    def add(self, shift: np.ndarray) -> None:
        """Shift the output of the layer by a constant in the shape of the bias."""
        self.bias.assign_add(tf.cast(self.location.sign * shift, self.bias.dtype))


def corrected_layers(model: keras.Model, locations: Mapping[str, BiasLocation]) -> list[CorrectedLayer]:
    """Return the layers of a compressed model that have a place for a bias and a compressed kernel, in the order of the model."""
    layers = dict(leaf_layers(model))
    found = []
    for path, wrapper in layers.items():
        location = locations.get(path)
        if location is not None and isinstance(wrapper, CompressedLayer) and location.weight in wrapper.weight_paths:
            owner = layers[location.owner]
            owner = owner.layer if isinstance(owner, CompressedLayer) else owner
            found.append(CorrectedLayer(location, wrapper, named_variables(owner)[location.variable]))
    return found


class FastBiasCorrection:
    """Measures shifts of means during a pass over data, as a :class:`~.statistics_pass.StatisticsCollector`, and corrects biases.

    With the error ``e = Q(w) - w`` of a kernel and the mean input ``m``, the shift of a linear layer is ``e * m``; the
    mean over positions that share a bias is subtracted from it.

    Args:
        layers: what to correct; their weight quantizers are calibrated.
        samples: how many samples to measure on.

    Source: Nagel et al. 2019, arXiv:1906.04721, section 4.2; Finkelstein et al. 2019, arXiv:1906.03193.
    """

    def __init__(self, layers: list[CorrectedLayer], samples: int):
        self.samples = samples
        self._layers = layers
        self._errors = [_weight_error(layer) for layer in layers]
        self._shifts = [tf.Variable(tf.zeros(layer.bias.shape, tf.float64)) for layer in layers]
        self._weights = [tf.Variable(0.0, dtype=tf.float64) for _ in layers]

    def attached(self) -> AbstractContextManager:
        return hooked_calls({layer.wrapper.layer: partial(self._note, i) for i, layer in enumerate(self._layers)})

    def begin(self, rows: ValidRows) -> None:
        self._rows = rows
        self._counted = rows.counted(self.samples)

    def _note(self, index: int, call, inputs):
        corrected, samples = self._layers[index], self._rows.of(inputs, self._counted)
        samples = tf.cast(samples, tf.float32)
        count = tf.cast(tf.shape(samples)[0], tf.float64)
        # With no sample in the batch the mean is of nothing, and counts for nothing.
        mean = tf.reduce_sum(samples, 0, keepdims=True) / tf.cast(tf.maximum(count, 1.0), tf.float32)
        outputs = pre_activation(corrected.wrapper.layer, mean, self._errors[index], corrected.location.weight)
        shift = mean_over_positions(corrected.wrapper.layer, outputs, corrected.bias.shape)
        self._shifts[index].assign_add(tf.cast(shift, tf.float64) * count)
        self._weights[index].assign_add(count)
        return call(inputs)

    def assign(self) -> None:
        """Subtract the measured shifts from the biases."""
        for layer, shift, weight in zip(self._layers, self._shifts, self._weights, strict=True):
            if weight.numpy() > 0:
                layer.add(-shift.numpy() / weight.numpy())


def _weight_error(layer: CorrectedLayer) -> tf.Tensor:
    """Return the quantized kernel minus the kernel."""
    weight = layer.location.weight
    kernel = tf.cast(tf.convert_to_tensor(named_variables(layer.wrapper.layer)[weight]), tf.float32)
    return layer.wrapper.compressed_weight(weight) - kernel


def correct_biases_in_sequence(
    model: keras.Model, float_model: keras.Model, layers: Sequence[CorrectedLayer], data: Dataset, samples: int
) -> None:
    """Correct the biases of a calibrated model one after another, in the order in which the layers are called.

    Args:
        model: the compressed model.
        float_model: the same layers by the same paths, not compressed.
        layers: what to correct.
        data: the samples.
        samples: how many of them.
    """
    if not layers:
        return
    by_path = {layer.location.layer: layer for layer in layers}
    plain = {path: layer for path, layer in leaf_layers(float_model) if path in by_path}
    expected = _means(float_model, plain, by_path)
    found = _means(model, {path: layer.wrapper.layer for path, layer in by_path.items()}, by_path)
    for path in tqdm(found.names, desc="bias correction", unit="layer", leave=False, disable=None):
        shift = _mean(found, path, data, samples) - _mean(expected, path, data, samples)
        by_path[path].add(-shift)


def _means(model: keras.Model, layers: dict, corrected: dict[str, CorrectedLayer]) -> ActivationCapture:
    """Return what computes the mean of each layer before its activation function, and the number of samples."""

    def make(path: str, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        layer, weight = layers[path], corrected[path].location.weight
        outputs = pre_activation(layer, inputs, getattr(layer, weight), weight)
        mean = mean_over_positions(layer, outputs, corrected[path].bias.shape)
        count = tf.cast(tf.shape(outputs)[0], tf.float64)
        return tf.cast(mean, tf.float64) * count, count

    return ActivationCapture(model, layers, make)


def _mean(tensors: ActivationCapture, path: str, data: Dataset, samples: int) -> np.ndarray:
    """Return the mean over all samples and all calls of a layer, in the shape of its bias."""
    run = tensors.function(path)
    with tensors.fresh():
        calls = [call for batch in tensors.batches(data, samples) for call in run(batch)]
    return np.sum([mean.numpy() for mean, _ in calls], axis=0) / sum(float(count) for _, count in calls)
