"""Adaptive rounding: whether a weight is rounded up or down is learned, so that the layer keeps its output.

To the nearest is not the best way to round, because errors of many weights can cancel in a sum. For each layer in turn
the output of the float layer is approached, with the inputs the layer really gets from the quantized layers before it.
The weights are moved to the levels that were found; the quantizer stays as it is.

Source: Nagel et al. 2020, arXiv:2004.10568.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from pydantic import Field
from tqdm import tqdm

from keras_compress._keras import keras
from keras_compress.calibration.activation_capture import ActivationCapture
from keras_compress.calibration.pre_activation import pre_activation
from keras_compress.calibration.statistics_pass import CALIBRATION_BATCH
from keras_compress.data import Dataset
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer, FakeQuantize
from keras_compress.settings import Settings

__all__ = ["AdaptiveRounding", "round_adaptively"]

#: The rectified sigmoid reaches a little beyond 0 and 1, so that it can be exactly 0 and 1.
STRETCH = 1.2
#: Bytes of inputs and outputs of a layer that are kept; of more samples than fit, as many are used as fit.
CACHE = 2**30


class AdaptiveRounding(Settings):
    """How rounding is learned."""

    num_samples: int | None = Field(None, ge=1)
    """Samples of the calibration data. Default: as many as ranges are measured on."""
    steps: int = Field(1000, ge=1)
    """Optimizer steps per layer. Default 1000."""
    batch_size: int = Field(32, ge=1)
    """Samples per step. Default 32."""
    learning_rate: float = Field(0.01, gt=0)
    """Of Adam. Default 0.01."""
    regularization: float = Field(0.1, ge=0)
    """Weight of the term that drives every weight to one of its two levels. Default 0.1."""
    seed: int = 0
    """Of the choice of samples. Default 0."""


def round_adaptively(
    model: keras.Model,
    float_model: keras.Model,
    kernels: Mapping[str, str],
    data: Dataset,
    samples: int,
    settings: AdaptiveRounding,
) -> None:
    """Move the weights of calibrated layers to the levels with which each layer keeps its output best.

    For each layer the squared error of its output is minimized over rounding up or down; the better of the learned
    rounding and rounding to the nearest is kept.

    Args:
        model: the compressed model, its ranges measured; its kernels are changed in place.
        float_model: the same layers by the same paths, not compressed.
        kernels: for the path of each layer the name of its only kernel; the last operation on it is a quantizer.
        data: the samples.
        samples: how many of them.
        settings: of the optimization.

    Source: Nagel et al. 2020, arXiv:2004.10568.
    """
    wrappers = {path: layer for path, layer in leaf_layers(model) if path in kernels}
    plain = {path: layer for path, layer in leaf_layers(float_model) if path in kernels}
    given = ActivationCapture(
        model, {path: wrapper.layer for path, wrapper in wrappers.items()}, lambda _, inputs: (inputs,)
    )

    def expected_output(path: str, inputs: tf.Tensor) -> tuple[tf.Tensor]:
        return (pre_activation(plain[path], inputs, getattr(plain[path], kernels[path]), kernels[path]),)

    expected = ActivationCapture(float_model, plain, expected_output)
    for path in tqdm(given.names, desc="adaptive rounding", unit="layer", leave=False, disable=None):
        inputs, outputs = _collect(given, expected, path, data, samples)
        rounding = _LayerRounding(wrappers[path], kernels[path])
        nearest = rounding.on_grid(rounding.nearest())
        learned = rounding.on_grid(rounding.learned(inputs, outputs, settings))
        better = rounding.error(learned, inputs, outputs) < rounding.error(nearest, inputs, outputs)
        rounding.kernel.assign(tf.cast(learned if better else nearest, rounding.kernel.dtype))


def _collect(
    given: ActivationCapture, expected: ActivationCapture, path: str, data: Dataset, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs of a layer in the quantized model and outputs it should have, over the samples and all its calls."""
    inputs: list[np.ndarray] = []
    outputs: list[np.ndarray] = []
    run, run_expected = given.function(path), expected.function(path)
    size = 0
    with given.fresh(), expected.fresh():
        for batch in given.batches(data, samples):
            for (seen,), (wanted,) in zip(run(batch), run_expected(batch), strict=True):
                inputs.append(seen.numpy().astype(np.float32))
                outputs.append(wanted.numpy().astype(np.float32))
                size += inputs[-1].nbytes + outputs[-1].nbytes
            if size > CACHE:
                break
    same = [i for i, array in enumerate(inputs) if array.shape[1:] == inputs[0].shape[1:]]
    return np.concatenate([inputs[i] for i in same]), np.concatenate([outputs[i] for i in same])


class _LayerRounding:
    """The choice, for every weight of a layer, between the levels of the grid below and above it.

    A choice is a tensor in the shape of the kernel: 0 for down, 1 for up.
    """

    def __init__(self, wrapper: CompressedLayer, weight: str):
        self._layer, self._weight = wrapper.layer, weight
        self.kernel: tf.Variable = getattr(self._layer, weight)
        quantizer: FakeQuantize = [op for path, op in wrapper.operations if path == weight][-1]
        self._scale, self._zero_point = (numbers.astype(np.float32) for numbers in quantizer.integer_range())
        self._steps = float(quantizer.steps)
        scaled = self.kernel.numpy().astype(np.float32) / self._scale + self._zero_point
        self._below = np.floor(scaled)
        self._share = scaled - self._below

    def nearest(self) -> tf.Tensor:
        """Return the choice of the nearest level."""
        return tf.constant(np.round(self._share + self._below) - self._below)

    def on_grid(self, up: tf.Tensor) -> tf.Tensor:
        """Return the kernel that a choice makes, in float32; shares between 0 and 1 give values between the levels."""
        return (tf.clip_by_value(self._below + up, 0.0, self._steps) - self._zero_point) * self._scale

    def error(self, kernel: tf.Tensor, inputs: np.ndarray, outputs: np.ndarray) -> float:
        """Return the summed squared error of the outputs with a kernel."""
        parts = range(0, len(inputs), CALIBRATION_BATCH)
        cut = ((inputs[at : at + CALIBRATION_BATCH], outputs[at : at + CALIBRATION_BATCH]) for at in parts)
        return sum(float(tf.reduce_sum(tf.square(self._made(tf.constant(x), kernel) - y))) for x, y in cut)

    def _made(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return pre_activation(self._layer, inputs, kernel, self._weight)

    def learned(self, inputs: np.ndarray, outputs: np.ndarray, settings: AdaptiveRounding) -> tf.Tensor:
        """Return the choice that brings the outputs nearest to ``outputs``.

        It is learned as a share ``h`` of the way up, a sigmoid stretched beyond 0 and 1 and cut off there, that starts
        where the weight is. After a fifth of the steps ``1 - |2 h - 1| ** sharpness`` drives it to 0 or 1, the
        sharpness falling from 20 to 2.
        """
        margin = (STRETCH - 1) / 2
        start = (np.clip(self._share, 1e-3, 1 - 1e-3) + margin) / STRETCH
        logits = tf.Variable((np.log(start) - np.log(1 - start)).astype(np.float32))
        optimizer = keras.optimizers.Adam(settings.learning_rate)
        optimizer.build([logits])
        power = float(np.mean(np.square(outputs - outputs.mean(axis=0)))) or 1.0

        def way_up() -> tf.Tensor:
            return tf.clip_by_value(tf.sigmoid(logits) * STRETCH - margin, 0.0, 1.0)

        @tf.function
        def step(seen: tf.Tensor, wanted: tf.Tensor, sharpness: tf.Tensor, strength: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                up = way_up()
                error = tf.reduce_mean(tf.square(self._made(seen, self.on_grid(up)) - wanted)) / power
                undecided = tf.reduce_mean(1.0 - tf.abs(2.0 * up - 1.0) ** sharpness)
                loss = error + strength * undecided
            optimizer.apply_gradients([(tape.gradient(loss, logits), logits)])

        random = np.random.default_rng(settings.seed)
        warm_up = settings.steps // 5
        for number in range(settings.steps):
            chosen = random.integers(len(inputs), size=min(settings.batch_size, len(inputs)))
            progress = max(number - warm_up, 0) / max(settings.steps - warm_up, 1)
            sharpness = np.float32(2.0 + 18.0 * (1.0 + np.cos(np.pi * progress)) / 2.0)
            strength = np.float32(settings.regularization if number >= warm_up else 0.0)
            step(*map(tf.constant, (inputs[chosen], outputs[chosen], sharpness, strength)))
        return tf.cast(way_up() > 0.5, tf.float32)
