"""Adaptive rounding: whether a weight is rounded up or down is learned, so that the layer keeps its output.

To the nearest is not the best way to round, because errors of many weights can cancel in a sum. For each layer in turn the
output of the float layer is approached, with the inputs the layer really gets from the quantized layers before it. The
weights are moved to the levels that were found; the quantizer stays as it is.

Source: Nagel et al. 2020, arXiv:2004.10568.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from pydantic import Field
from tqdm import tqdm

from keras_compress._keras import keras
from keras_compress.calibration.bias_correction import CorrectedLayer
from keras_compress.calibration.layer_tensors import LayerTensors
from keras_compress.calibration.linear_part import linear_part
from keras_compress.data import Dataset
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import FakeQuantize
from keras_compress.settings import Settings

__all__ = ["AdaptiveRounding", "round_adaptively"]

#: The rectified sigmoid reaches a little beyond 0 and 1, so that it can be exactly 0 and 1.
STRETCH = 1.2
#: Bytes of inputs and outputs of a layer that are kept; of more samples than fit, as many are used as fit.
CACHE = 2**30


class AdaptiveRounding(Settings):
    """How rounding is learned.

    Attributes:
        num_samples: samples of the calibration data. Default: as many as ranges are measured on.
        steps: optimizer steps per layer. Default 1000.
        batch_size: samples per step. Default 32.
        learning_rate: of Adam. Default 0.01.
        regularization: weight of the term that drives every weight to one of its two levels. Default 0.01.
        seed: of the choice of samples. Default 0.
    """

    num_samples: int | None = Field(None, ge=1)
    steps: int = Field(1000, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(0.01, gt=0)
    regularization: float = Field(0.01, ge=0)
    seed: int = 0


def round_adaptively(
    model: keras.Model,
    float_model: keras.Model,
    layers: Sequence[CorrectedLayer],
    data: Dataset,
    samples: int,
    settings: AdaptiveRounding,
) -> None:
    """Move the weights of calibrated layers to the levels with which each layer keeps its output best.

    Args:
        model: the compressed model, its ranges measured.
        float_model: the same layers by the same paths, not compressed.
        layers: whose weights to round; each has one weight quantizer as the last operation on its kernel.
        data: the samples.
        samples: how many of them.
        settings: of the optimization.
    """
    by_path = {layer.carrier.layer: layer for layer in layers}
    plain = {path: layer for path, layer in leaf_layers(float_model) if path in by_path}
    compressed = {path: layer.wrapper.layer for path, layer in by_path.items()}
    given = LayerTensors(model, compressed, lambda path, inputs: (inputs,))

    def expected_output(path: str, inputs: tf.Tensor) -> tuple[tf.Tensor]:
        weight = by_path[path].carrier.weight
        return (linear_part(plain[path], inputs, getattr(plain[path], weight), weight),)

    expected = LayerTensors(float_model, plain, expected_output)
    for path in tqdm(given.names, desc="adaptive rounding", unit="layer", leave=False, disable=None):
        inputs, outputs = _collect(given, expected, path, data, samples)
        _round_layer(by_path[path], inputs, outputs, settings)


def _collect(
    given: LayerTensors, expected: LayerTensors, path: str, data: Dataset, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs of a layer in the quantized model and outputs it should have, over the samples and all its calls."""
    inputs: list[np.ndarray] = []
    outputs: list[np.ndarray] = []
    run, run_expected = given.function(path), expected.function(path)
    size = 0
    for batch in given.batches(data, samples):
        for (seen,), (wanted,) in zip(run(batch), run_expected(batch), strict=True):
            inputs.append(seen.numpy())
            outputs.append(wanted.numpy())
            size += inputs[-1].nbytes + outputs[-1].nbytes
        if size > CACHE:
            break
    same = [i for i, array in enumerate(inputs) if array.shape[1:] == inputs[0].shape[1:]]
    return np.concatenate([inputs[i] for i in same]), np.concatenate([outputs[i] for i in same])


def _round_layer(layer: CorrectedLayer, inputs: np.ndarray, outputs: np.ndarray, settings: AdaptiveRounding) -> None:
    weight = layer.carrier.weight
    quantizer: FakeQuantize = [op for path, op in layer.wrapper.operations if path == weight][-1]
    kernel = getattr(layer.wrapper.layer, weight)
    scale, zero_point = quantizer.integer_range()
    scaled = kernel.numpy().astype(np.float32) / scale + zero_point
    below = np.floor(scaled)
    # sigmoid(logit) stretched is the share of the way to the level above: rounding starts where the weight is.
    share = np.clip(scaled - below, 1e-3, 1 - 1e-3)
    stretched = (share + (STRETCH - 1) / 2) / STRETCH
    logits = tf.Variable((np.log(stretched) - np.log(1 - stretched)).astype(np.float32))

    def way_up() -> tf.Tensor:
        return tf.clip_by_value(tf.sigmoid(logits) * STRETCH - (STRETCH - 1) / 2, 0.0, 1.0)

    def on_grid(up: tf.Tensor) -> tf.Tensor:
        return (tf.clip_by_value(below + up, 0.0, float(quantizer.steps)) - zero_point) * scale

    optimizer = keras.optimizers.Adam(settings.learning_rate)
    optimizer.build([logits])
    power = float(np.mean(np.square(outputs - outputs.mean(axis=0)))) or 1.0

    @tf.function
    def step(seen: tf.Tensor, wanted: tf.Tensor, sharpness: tf.Tensor, strength: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            up = way_up()
            made = linear_part(layer.wrapper.layer, seen, tf.cast(on_grid(up), seen.dtype), weight)
            error = tf.reduce_mean(tf.square(tf.cast(made - wanted, tf.float32))) / power
            undecided = tf.reduce_mean(1.0 - tf.abs(2.0 * up - 1.0) ** sharpness)
            loss = error + strength * undecided
        optimizer.apply_gradients([(tape.gradient(loss, logits), logits)])

    random = np.random.default_rng(settings.seed)
    warm_up = settings.steps // 5
    for number in range(settings.steps):
        chosen = random.integers(len(inputs), size=min(settings.batch_size, len(inputs)))
        progress = max(number - warm_up, 0) / max(settings.steps - warm_up, 1)
        sharpness = 2.0 + 18.0 * (1.0 + np.cos(np.pi * progress)) / 2.0
        strength = settings.regularization if number >= warm_up else 0.0
        step(
            tf.constant(inputs[chosen]),
            tf.constant(outputs[chosen]),
            tf.constant(sharpness, tf.float32),
            tf.constant(strength, tf.float32),
        )
    final = on_grid(tf.cast(way_up() > 0.5, tf.float32))
    kernel.assign(tf.cast(final, kernel.dtype))
