"""Initialization of ranges: of activations in one pass over the data, of weights from the weights.

During the pass every quantizer is switched off and shows its input to an estimator; all estimators work in the same
traced graph as the model itself, so the pass costs little more than a prediction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf
from pydantic import Field, model_validator
from tqdm import tqdm

from keras_compress._keras import forgotten_graphs, keras
from keras_compress.calibration.range_estimators import ESTIMATORS, RangeEstimator
from keras_compress.data import Dataset, input_specs, pack_inputs, tensor_specs
from keras_compress.graph.variables import sublayers
from keras_compress.layers import FakeQuantize, ObservableOp, observing
from keras_compress.settings import Settings

__all__ = ["Measurement", "RangeInitializer", "RangeParams", "calibrate_activations", "calibrate_weight", "observable"]

CALIBRATION_BATCH = 32

RangeType = Literal["mixed_min_max", "min_max", "mean_min_max", "threesigma", "percentile", "mean_percentile"]


class RangeParams(Settings):
    """Percentiles for the range types that use them, in [0, 100]."""

    min_percentile: float = Field(0.1, ge=0, le=100)
    max_percentile: float = Field(99.9, ge=0, le=100)

    @model_validator(mode="after")
    def _in_order(self) -> RangeParams:
        if self.min_percentile >= self.max_percentile:
            raise ValueError(
                f"Expected: min_percentile below max_percentile. Received: {self.min_percentile} and {self.max_percentile}."
            )
        return self


class RangeInitializer(Settings):
    """How a range is first set.

    Attributes:
        type: ``mixed_min_max`` (default; for activations with one range ``mean_min_max`` if a sample has at least
            1,024 values, whose extremes are outliers then, and ``min_max`` in all other cases), ``min_max``, ``mean_min_max``, ``threesigma``, ``percentile``,
            ``mean_percentile``.
        num_init_samples: samples of the data to measure activations on, 256 by default; 0 leaves ranges unmeasured.
        params: percentiles.
    """

    type: RangeType = "mixed_min_max"
    num_init_samples: int = Field(256, ge=0)
    params: RangeParams = RangeParams()

    def estimator(self, channels: int, *, of_weights: bool) -> RangeEstimator:
        """Return a new estimator for ``channels`` ranges."""
        name: str = self.type
        if name == "mixed_min_max" and (of_weights or channels > 1):
            name = "min_max"
        if name == "percentile" and of_weights:
            name = "mean_percentile"  # exact, and the same thing for a single sample
        params = self.params
        return ESTIMATORS[name](channels, low_percentile=params.min_percentile, high_percentile=params.max_percentile)


def calibrate_weight(quantizer: FakeQuantize, weight: np.ndarray, initializer: RangeInitializer) -> None:
    """Set the range of a weight quantizer from the weight."""
    shape = quantizer.range_shape(weight.shape)
    estimator = initializer.estimator(math.prod(shape), of_weights=True)
    estimator.update(_arranged(tf.constant(weight[np.newaxis], tf.float32), shape))
    low, high = estimator.usable_range()
    quantizer.set_range(low.reshape(shape), high.reshape(shape))


@dataclass(frozen=True)
class Measurement:
    """How the range of an activation quantizer is measured: by what initializer, and on how many tensors at once."""

    initializer: RangeInitializer
    tensors: int = 1


def calibrate_activations(
    model: keras.Model,
    measurements: Mapping[ObservableOp, Measurement],
    all_quantizers: Iterable[ObservableOp],
    data: Dataset,
) -> None:
    """Set the ranges of activation quantizers in one pass over the data.

    A quantizer that several tensors share gets a range that holds the ranges of all of them.

    Args:
        model: the model the quantizers lie in.
        measurements: for each quantizer to calibrate, how.
        all_quantizers: every quantizer of the model; all are switched off during the pass.
        data: at least as many samples as the initializers ask for are read, if there are as many.
    """
    observers = {quantizer: _Observer(quantizer, measurement) for quantizer, measurement in measurements.items()}
    limit = max(measurement.initializer.num_init_samples for measurement in measurements.values())
    specs = input_specs(model)
    with (
        forgotten_graphs(),
        observing(observers, all_quantizers),
        tqdm(total=limit, desc="calibration", unit="sample", leave=False, disable=None) as bar,
    ):

        def pass_through(inputs, samples, seen):
            for observer in observers.values():
                observer.begin(tf.shape(inputs[0])[0], samples, seen)
            model(pack_inputs(model, inputs), training=False)

        number = tf.TensorSpec([], tf.int32)
        observe = tf.function(pass_through).get_concrete_function(tensor_specs(specs), number, number)

        seen = 0
        for batch in data.batches(specs, CALIBRATION_BATCH, limit):
            inputs = tuple(tf.constant(array, spec.dtype) for array, spec in zip(batch.inputs, specs, strict=True))
            observe(inputs, tf.constant(batch.samples), tf.constant(seen))
            seen += batch.samples
            bar.update(batch.samples)
    for quantizer, observer in observers.items():
        quantizer.set_range(*observer.range())


def observable(model: keras.Model) -> list[ObservableOp]:
    """Return every operation of a model that can be switched off and observed."""
    return [layer for layer in sublayers(model) if isinstance(layer, ObservableOp)]


class _Observer:
    """Shows the rows of tensors that hold data, and no more samples than were asked for, to estimators.

    Each tensor that the quantizer is called on has an estimator of its own.
    """

    def __init__(self, quantizer: ObservableOp, measurement: Measurement):
        self._shape = quantizer.range_variable_shape
        self._limit = measurement.initializer.num_init_samples
        self._estimators = [
            measurement.initializer.estimator(math.prod(self._shape), of_weights=False)
            for _ in range(measurement.tensors)
        ]

    def begin(self, batch_size: tf.Tensor, samples: tf.Tensor, seen: tf.Tensor) -> None:
        """Note the size of the batch that is traced, how many of its rows count, and how many came before."""
        self._batch_size = batch_size
        self._samples = tf.maximum(tf.minimum(samples, self._limit - seen), 0)
        self._calls = 0

    @tf.autograph.experimental.do_not_convert
    def __call__(self, tensor: tf.Tensor) -> None:
        estimator = self._estimators[self._calls % len(self._estimators)]
        self._calls += 1
        size = tf.shape(tensor)[0]
        by_sample = size % self._batch_size == 0  # else the first axis is not the batch: take all of it
        rows = tf.where(by_sample, size // self._batch_size * self._samples, size)
        values = _arranged(tf.cast(tensor, tf.float32), self._shape)
        estimator.update(values[:rows])

    def range(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the range that holds what every estimator found."""
        lows, highs = zip(*(estimator.usable_range() for estimator in self._estimators), strict=True)
        return np.min(lows, axis=0).reshape(self._shape), np.max(highs, axis=0).reshape(self._shape)


def _arranged(tensor: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """Arrange a tensor with a leading sample axis as (samples, values, channels) for ranges of ``shape``."""
    samples = tf.shape(tensor)[0]
    channels = math.prod(shape)
    if channels == 1:
        return tf.reshape(tensor, [samples, -1, 1])
    rank = tensor.shape.rank
    axes = [axis + rank - len(shape) for axis, size in enumerate(shape) if size > 1]
    others = [axis for axis in range(1, rank) if axis not in axes]
    return tf.reshape(tf.transpose(tensor, [0, *others, *axes]), [samples, -1, channels])
