"""Where ranges are measured: those of activations by ``ActivationRanges`` in a pass over data, those of weights from the weights.

During the pass every quantizer is switched off and shows its input to an estimator; all estimators work in the same
traced graph as the model itself, so the pass costs little more than a prediction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf
from pydantic import Field, model_validator

from keras_compress._keras import keras
from keras_compress.calibration.entropy import EntropyEstimator, ExactEntropyEstimator
from keras_compress.calibration.histogram_estimators import Percentile, ThreeSigma
from keras_compress.calibration.mse import ExactMSEEstimator, MSEEstimator
from keras_compress.calibration.range_estimator import RangeEstimator
from keras_compress.calibration.sample_estimators import MeanMinMax, MeanPercentile, MinMax, MixedMinMax
from keras_compress.calibration.statistics_pass import ValidRows, collect_statistics
from keras_compress.data import Dataset
from keras_compress.errors import DataError
from keras_compress.graph.variables import sublayers
from keras_compress.layers import CalibratedOp, FakeQuantize, observed
from keras_compress.settings import Settings

__all__ = [
    "ESTIMATORS",
    "ActivationRanges",
    "Measurement",
    "RangeInitializer",
    "RangeParams",
    "calibrate_activations",
    "calibrate_weight",
    "observable",
    "symmetric_unless_finer",
]

#: By which share steps have to become finer for a range to be asymmetric where the data decide.
FINER = 1 / 8

RangeType = Literal[
    "mixed_min_max", "min_max", "mean_min_max", "threesigma", "percentile", "mean_percentile", "mse", "entropy"
]

#: For activations, which come in batches.
ESTIMATORS: dict[str, type[RangeEstimator]] = {
    "mixed_min_max": MixedMinMax,
    "min_max": MinMax,
    "mean_min_max": MeanMinMax,
    "threesigma": ThreeSigma,
    "percentile": Percentile,
    "mean_percentile": MeanPercentile,
    "mse": MSEEstimator,
    "entropy": EntropyEstimator,
}

#: For weights, which are there all at once: a single sample, whose values are taken exactly and not by a histogram.
WEIGHT_ESTIMATORS: dict[str, type[RangeEstimator]] = {
    **ESTIMATORS,
    "mixed_min_max": MinMax,
    "percentile": MeanPercentile,
    "mse": ExactMSEEstimator,
    "entropy": ExactEntropyEstimator,
}


class RangeParams(Settings):
    """Percentiles for the range types that use them, ``percentile`` and ``mean_percentile``."""

    min_percentile: float = Field(0.1, ge=0, le=100)
    """Where a range begins, in [0, 100]. Default 0.1."""
    max_percentile: float = Field(99.9, ge=0, le=100)
    """Where it ends, in [0, 100]. Default 99.9."""

    @model_validator(mode="after")
    def _in_order(self) -> RangeParams:
        if self.min_percentile >= self.max_percentile:
            raise ValueError(
                f"Expected: min_percentile below max_percentile. Received: {self.min_percentile} and {self.max_percentile}."
            )
        return self


class RangeInitializer(Settings):
    """How a range is first set."""

    type: RangeType = "mixed_min_max"
    """``mixed_min_max`` (for activations with one range ``mean_min_max`` if a sample has at least 1,024
    values, whose extremes are outliers then, and ``min_max`` in all other cases), ``min_max``, ``mean_min_max``,
    ``threesigma``, ``percentile``, ``mean_percentile``, ``mse`` (the range whose error of quantization is least),
    ``entropy`` (the range whose grid tells most about the distribution). Default: ``mixed_min_max``, or the extremes of all
    samples where the outputs come nearer to those in floating point with them."""
    num_init_samples: int = Field(256, ge=0)
    """Samples of the data to measure activations on, 256 by default; 0 leaves ranges unmeasured."""
    params: RangeParams = RangeParams()
    """Percentiles."""

    def estimator(self, channels: int, *, of_weights: bool, quantizer: CalibratedOp | None = None) -> RangeEstimator:
        """Return a new estimator for ``channels`` ranges of an operation.

        Raises:
            ConfigError: the type looks at the grid of a quantizer, and the operation is none.
        """
        estimators = WEIGHT_ESTIMATORS if of_weights else ESTIMATORS
        return estimators["min_max" if self.type == "mixed_min_max" and channels > 1 else self.type](
            channels,
            low_percentile=self.params.min_percentile,
            high_percentile=self.params.max_percentile,
            quantizer=quantizer if isinstance(quantizer, FakeQuantize) else None,
        )


def calibrate_weight(quantizer: FakeQuantize, weight: np.ndarray, initializer: RangeInitializer) -> None:
    """Set the range of a weight quantizer from the weight.

    Args:
        quantizer: built for the shape of the weight.
        weight: float array.
        initializer: how.

    Example:
        >>> from keras_compress.layers import SymmetricFakeQuantize
        >>> quantizer = SymmetricFakeQuantize(num_bits=8, narrow_range=True)
        >>> quantizer.build((3,))
        >>> calibrate_weight(quantizer, np.float32([-2.0, 0.5, 1.0]), RangeInitializer(type="min_max"))
        >>> [end.numpy().item() for end in quantizer.range()]
        [-2.0, 2.0]
    """
    shape = quantizer.range_shape(weight.shape)
    estimator = initializer.estimator(math.prod(shape), of_weights=True, quantizer=quantizer)
    estimator.update(_arranged(tf.constant(weight[np.newaxis], tf.float32), shape))
    low, high = estimator.usable_range()
    quantizer.set_range(low.reshape(shape), high.reshape(shape))


@dataclass(frozen=True)
class Measurement:
    """How the range of an activation quantizer is measured.

    Attributes:
        initializer: by what estimator, and on how many samples.
        tensors: how many tensors share the range; it holds the ranges of all. Default 1.
        layers: paths of the layers that make these tensors, to be named in errors. Default: unknown.
        symmetric_unless_finer: whether the range is made symmetric around zero unless its steps would become much wider, see
            :func:`symmetric_unless_finer`. Default False.
    """

    initializer: RangeInitializer
    tensors: int = 1
    layers: tuple[str, ...] = ()
    symmetric_unless_finer: bool = False


def symmetric_unless_finer(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a range, symmetric around zero unless its own ends give steps that are finer by an eighth or more.

    A symmetric grid needs no zero point in a runtime; one step finer by an eighth is 1 dB less error.

    Args:
        low, high: ends of ranges, of one shape.

    Example:
        >>> [end.tolist() for end in symmetric_unless_finer(np.float32([-0.9, -0.1]), np.float32([1.0, 1.0]))]
        [[-1.0, -0.10000000149011612], [1.0, 1.0]]
    """
    low, high = np.minimum(low, 0), np.maximum(high, 0)
    reach = np.maximum(-low, high)
    finer = (high - low) * (1 + FINER) <= 2 * reach
    return np.where(finer, low, -reach), np.where(finer, high, reach)


def calibrate_activations(
    model: keras.Model,
    measurements: Mapping[CalibratedOp, Measurement],
    all_quantizers: Iterable[CalibratedOp],
    data: Dataset,
) -> None:
    """Set the ranges of activation quantizers in one pass over the data.

    Args:
        model: the model of the quantizers.
        measurements: for each quantizer to calibrate, how.
        all_quantizers: every quantizer of the model; all are switched off during the pass.
        data: at least as many samples as the initializers ask for are read, if there are as many.
    """
    ranges = ActivationRanges(measurements, all_quantizers)
    collect_statistics(model, [ranges], data, "calibration")
    ranges.assign()


class ActivationRanges:
    """Measures the ranges of activation quantizers during a pass over data; see :class:`~.statistics_pass.StatisticsCollector`.

    A quantizer that several tensors share gets a range that holds the ranges of all of them.

    Args:
        measurements: for each quantizer to calibrate, how.
        all_quantizers: every quantizer of the model; all are switched off during the pass.
    """

    def __init__(self, measurements: Mapping[CalibratedOp, Measurement], all_quantizers: Iterable[CalibratedOp]):
        self._observers = {quantizer: _Observer(quantizer, how) for quantizer, how in measurements.items()}
        self._all_quantizers = list(all_quantizers)
        self.samples = max((how.initializer.num_init_samples for how in measurements.values()), default=0)

    def attached(self):
        return observed(self._observers, self._all_quantizers)

    def begin(self, rows: ValidRows) -> None:
        for observer in self._observers.values():
            observer.begin(rows)

    def assign(self) -> None:
        """Set the ranges to what was measured.

        Raises:
            DataError: something that was measured is not finite.
        """
        for quantizer, observer in self._observers.items():
            quantizer.set_range(*observer.finite_range())

    def other_ranges(self) -> dict[CalibratedOp, tuple[np.ndarray, np.ndarray]]:
        """Return another range for each quantizer that might do better with one, where the user has not chosen how to measure."""
        found = {quantizer: observer.other_range() for quantizer, observer in self._observers.items()}
        return {quantizer: ends for quantizer, ends in found.items() if ends is not None}


def observable(model: keras.Model) -> list[CalibratedOp]:
    """Return every operation of a model that can be switched off and observed, those of nested models included.

    Example:
        >>> observable(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
        []
    """
    return [layer for layer in sublayers(model) if isinstance(layer, CalibratedOp)]


class _Observer:
    """Shows the rows of tensors that hold data, and no more samples than were asked for, to estimators.

    Each tensor that the quantizer is called on has an estimator of its own.
    """

    def __init__(self, quantizer: CalibratedOp, measurement: Measurement):
        self._shape = quantizer.range_variable_shape
        self._limit = measurement.initializer.num_init_samples
        self._is_chosen = "type" in measurement.initializer.model_fields_set
        self._symmetric = measurement.symmetric_unless_finer
        self._name = ", ".join(measurement.layers) or quantizer.name
        self._samples = tf.Variable([0, 0], trainable=False)  # all of them, and those with values that are not finite
        self._estimators = [
            measurement.initializer.estimator(math.prod(self._shape), of_weights=False, quantizer=quantizer)
            for _ in range(measurement.tensors)
        ]

    def begin(self, rows: ValidRows) -> None:
        self._rows = rows
        self._counted = rows.counted(self._limit)
        self._calls = 0

    @tf.autograph.experimental.do_not_convert
    def __call__(self, tensor: tf.Tensor) -> None:
        estimator = self._estimators[self._calls % len(self._estimators)]
        self._calls += 1
        values = self._rows.of(_arranged(tf.cast(tensor, tf.float32), self._shape), self._counted)
        finite = tf.reduce_all(tf.math.is_finite(values), axis=[1, 2])
        self._samples.assign_add([tf.size(finite), tf.size(finite) - tf.math.count_nonzero(finite, dtype=tf.int32)])
        estimator.update(values)

    def finite_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the range, or raise a DataError that names the layer if it is not one of finite numbers."""
        samples, broken = self._samples.numpy()
        low, high = self.range() if not broken else (np.array(np.nan), np.array(np.nan))
        with np.errstate(over="ignore"):  # a range may be wider than float32 can hold
            width = np.asarray(high, np.float32) - np.asarray(low, np.float32)
        if not (np.isfinite(low).all() and np.isfinite(high).all() and np.isfinite(width).all()):
            received = f"such values in {broken} of {samples} samples" if broken else f"{np.min(low)} to {np.max(high)}"
            raise DataError(
                f"The layer '{self._name}' computes NaN or infinite values on the calibration data, so that it has no range. "
                f"Expected: finite numbers. Received: {received}. Look for weights that are not finite, for a division by zero "
                "or a logarithm of zero before it, or for samples of another scale than those of the training."
            )
        return low, high

    def range(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the range that holds what every estimator found."""
        return self._holding([estimator.usable_range() for estimator in self._estimators])

    def other_range(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the ends of the range that holds what every estimator has in mind beside; None if none has, or the user chose."""
        others = [estimator.other_range() for estimator in self._estimators]
        if self._is_chosen or all(other is None for other in others):
            return None
        own = [estimator.usable_range() for estimator in self._estimators]
        return self._holding([ends if other is None else other for other, ends in zip(others, own, strict=True)])

    def _holding(self, ranges: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        lows, highs = zip(*ranges, strict=True)
        low, high = np.min(lows, axis=0).reshape(self._shape), np.max(highs, axis=0).reshape(self._shape)
        return symmetric_unless_finer(low, high) if self._symmetric else (low, high)


def _arranged(tensor: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """Arrange a tensor with a leading sample axis as (samples, values, channels) for ranges of ``shape``."""
    samples = tf.shape(tensor)[0]
    channels = math.prod(shape)
    if channels == 1:
        values = tensor.shape[1:].num_elements()
        return tf.reshape(tensor, [samples, -1 if values is None else values, 1])
    rank = tensor.shape.rank
    axes = [axis + rank - len(shape) for axis, size in enumerate(shape) if size > 1]
    others = [axis for axis in range(1, rank) if axis not in axes]
    return tf.reshape(tf.transpose(tensor, [0, *others, *axes]), [samples, -1, channels])
