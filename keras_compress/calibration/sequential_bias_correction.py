"""Sequential bias correction: layer after layer, the mean of the output is brought back to that of the float model.

A layer is corrected when all before it are, so what quantized activations and earlier layers shift is corrected too. It
takes as many passes over the data as there are layers, each as far as the layer: about half as many passes of the whole
model.

Source: Nagel et al. 2019, arXiv:1906.04721.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from keras_compress._keras import keras
from keras_compress.calibration.bias_correction import CorrectedLayer
from keras_compress.calibration.layer_tensors import LayerTensors
from keras_compress.calibration.linear_part import linear_part, mean_over_positions
from keras_compress.data import Dataset
from keras_compress.graph.variables import leaf_layers

__all__ = ["correct_biases_in_sequence"]


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
    by_path = {layer.carrier.layer: layer for layer in layers}
    plain = {path: layer for path, layer in leaf_layers(float_model) if path in by_path}
    expected = _means(float_model, plain, by_path)
    found = _means(model, {path: layer.wrapper.layer for path, layer in by_path.items()}, by_path)
    for path in tqdm(found.names, desc="bias correction", unit="layer", leave=False, disable=None):
        shift = _mean(found, path, data, samples) - _mean(expected, path, data, samples)
        by_path[path].add(-shift)


def _means(model: keras.Model, layers: dict, corrected: dict[str, CorrectedLayer]) -> LayerTensors:
    """Return what computes the mean of each layer before its activation function, and the number of samples."""

    def make(path: str, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        layer, weight = layers[path], corrected[path].carrier.weight
        outputs = linear_part(layer, inputs, getattr(layer, weight), weight)
        mean = mean_over_positions(layer, outputs, corrected[path].bias.shape)
        count = tf.cast(tf.shape(outputs)[0], tf.float64)
        return tf.cast(mean, tf.float64) * count, count

    return LayerTensors(model, layers, make)


def _mean(tensors: LayerTensors, path: str, data: Dataset, samples: int) -> np.ndarray:
    """Return the mean over all samples and all calls of a layer, in the shape of its bias."""
    run = tensors.function(path)
    calls = [call for batch in tensors.batches(data, samples) for call in run(batch)]
    return np.sum([mean.numpy() for mean, _ in calls], axis=0) / sum(float(count) for _, count in calls)
