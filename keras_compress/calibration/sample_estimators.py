"""Range estimators that look at each sample and keep its ends: extremes, and means over the samples of extremes or percentiles."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import tensorflow as tf

from keras_compress.calibration.range_estimator import RangeEstimator

__all__ = ["MeanMinMax", "MeanPercentile", "MinMax", "MixedMinMax"]


class MinMax(RangeEstimator):
    """The smallest and the largest value of all samples.

    Example:
        >>> estimator = MinMax(channels=1)
        >>> estimator.update(tf.constant([[[1.0], [-2.0]], [[5.0], [0.0]]]))
        >>> [end.tolist() for end in estimator.range()]
        [[-2.0], [5.0]]
    """

    def __init__(self, channels: int, **settings):
        super().__init__(channels, **settings)
        self.low = tf.Variable(tf.fill([channels], np.float32(np.inf)))
        self.high = tf.Variable(tf.fill([channels], np.float32(-np.inf)))

    def update(self, values):
        self.low.assign(tf.minimum(self.low, tf.reduce_min(values, [0, 1])))
        self.high.assign(tf.maximum(self.high, tf.reduce_max(values, [0, 1])))

    def range(self):
        return self.low.numpy(), self.high.numpy()


class _MeanOfSamples(RangeEstimator):
    """Mean over the samples of an end that is found for each sample."""

    def __init__(self, channels: int, **settings):
        super().__init__(channels, **settings)
        self.sums = tf.Variable(tf.zeros([2, channels], tf.float64))
        self.count = tf.Variable(0, dtype=tf.int64)

    def update(self, values):
        self.add(*self.ends(values))

    def add(self, low: tf.Tensor, high: tf.Tensor) -> None:
        """Take in the ends of samples."""
        self.sums.assign_add(tf.reduce_sum(tf.cast(tf.stack([low, high]), tf.float64), 1))
        self.count.assign_add(tf.shape(low, tf.int64)[0])

    def range(self):
        low, high = (self.sums.numpy() / self.count.numpy()).astype(np.float32)
        return low, high

    @abstractmethod
    def ends(self, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the low and the high end of each sample, each of shape ``(samples, channels)``."""


class MeanMinMax(_MeanOfSamples):
    """The mean over the samples of each sample's smallest and largest value.

    Example:
        >>> estimator = MeanMinMax(channels=1)
        >>> estimator.update(tf.constant([[[1.0], [-2.0]], [[5.0], [0.0]]]))
        >>> [end.tolist() for end in estimator.range()]
        [[-1.0], [3.0]]
    """

    def ends(self, values):
        return tf.reduce_min(values, 1), tf.reduce_max(values, 1)


class MixedMinMax(MeanMinMax):
    """The mean of the extremes of each sample if a sample has 1,024 values or more, else the extremes of all samples.

    Of many values the extremes are outliers, and their mean clips little; of few values it would clip much. In the first case
    the extremes of all samples are the other range.

    Example:
        >>> estimator = MixedMinMax(channels=1)
        >>> estimator.update(tf.constant([[[1.0], [-2.0]], [[5.0], [0.0]]]))
        >>> [end.tolist() for end in estimator.range()]
        [[-2.0], [5.0]]

    Source: Kozlov et al. 2020, arXiv:2002.08679 (the range initializer of NNCF).
    """

    MANY = 1024

    def __init__(self, channels: int, **settings):
        super().__init__(channels, **settings)
        self.extremes = MinMax(channels)
        self.size = 0
        self.values: tf.Variable | None = None

    def update(self, values):
        low, high = self.ends(values)
        if values.shape[1] is None:
            self._note_size(tf.shape(values)[1])
        else:
            self.size = values.shape[1]
        self.add(low, high)
        self.extremes.update(tf.stack([low, high], 1))

    def _note_size(self, size: tf.Tensor) -> None:
        """Keep the greatest size of samples whose size is not known beforehand."""
        if self.values is None:
            with tf.init_scope():
                self.values = tf.Variable(0)
        self.values.assign(tf.maximum(self.values, size))

    def _has_many_values(self) -> bool:
        return (self.size if self.values is None else self.values.numpy()) >= self.MANY

    def range(self):
        return super().range() if self._has_many_values() else self.extremes.range()

    def other_range(self):
        return self.extremes.range() if self._has_many_values() else None


class MeanPercentile(_MeanOfSamples):
    """The mean over the samples of each sample's percentiles, exact, with linear interpolation.

    Example:
        >>> estimator = MeanPercentile(channels=1, low_percentile=0, high_percentile=50)
        >>> estimator.update(tf.reshape(tf.range(5.0), (1, 5, 1)))
        >>> [end.tolist() for end in estimator.range()]
        [[0.0], [2.0]]
    """

    def ends(self, values):
        ordered = tf.sort(values, axis=1)
        return tuple(self._percentile(ordered, percentile) for percentile in self.percentiles)

    @staticmethod
    def _percentile(ordered: tf.Tensor, percentile: float) -> tf.Tensor:
        position = tf.cast(tf.shape(ordered)[1] - 1, tf.float32) * (percentile / 100)
        below = tf.cast(tf.floor(position), tf.int32)
        above = tf.minimum(below + 1, tf.shape(ordered)[1] - 1)
        share = position - tf.floor(position)
        return ordered[:, below] * (1 - share) + ordered[:, above] * share
