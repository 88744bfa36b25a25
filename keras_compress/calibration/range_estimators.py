"""Range estimators: from values seen in batches to the low and high end of a range.

An estimator sees tensors arranged as ``(samples, values, channels)``, keeps its statistics in variables on the device,
and uses the same memory however many samples it sees. Sums are kept in float64 and counts as integers, so that the
order of the samples does not change the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import tensorflow as tf

__all__ = [
    "ESTIMATORS",
    "MeanMinMax",
    "MeanPercentile",
    "MinMax",
    "MixedMinMax",
    "Percentile",
    "RangeEstimator",
    "ThreeSigma",
]


class RangeEstimator(ABC):
    """Base of the estimators.

    Args:
        channels: how many ranges are estimated side by side.
        low_percentile, high_percentile: percentiles in [0, 100], for the estimators that use them.
    """

    def __init__(self, channels: int, low_percentile: float = 0.1, high_percentile: float = 99.9):
        self.channels = channels
        self.percentiles = (low_percentile, high_percentile)

    @abstractmethod
    def update(self, values: tf.Tensor) -> None:
        """Take in float32 values of shape ``(samples, values, channels)``."""

    @abstractmethod
    def range(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the low and the high end, each float32 of shape ``(channels,)``."""

    def usable_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Return :meth:`range`, widened where it would hold nothing but zero."""
        return self.range()


class MinMax(RangeEstimator):
    """The smallest and the largest value of all samples."""

    def __init__(self, channels: int, **percentiles):
        super().__init__(channels, **percentiles)
        self.low = tf.Variable(tf.fill([channels], np.float32(np.inf)))
        self.high = tf.Variable(tf.fill([channels], np.float32(-np.inf)))

    def update(self, values):
        self.low.assign(tf.minimum(self.low, tf.reduce_min(values, [0, 1])))
        self.high.assign(tf.maximum(self.high, tf.reduce_max(values, [0, 1])))

    def range(self):
        return self.low.numpy(), self.high.numpy()


class _MeanOfSamples(RangeEstimator):
    """Mean over the samples of an end that is found for each sample."""

    def __init__(self, channels: int, **percentiles):
        super().__init__(channels, **percentiles)
        self.sums = tf.Variable(tf.zeros([2, channels], tf.float64))
        self.count = tf.Variable(0, dtype=tf.int64)

    def update(self, values):
        ends = tf.stack(self.ends(values))
        self.sums.assign_add(tf.reduce_sum(tf.cast(ends, tf.float64), 1))
        self.count.assign_add(tf.shape(values, tf.int64)[0])

    def range(self):
        low, high = (self.sums.numpy() / self.count.numpy()).astype(np.float32)
        return low, high

    @abstractmethod
    def ends(self, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the low and the high end of each sample, each of shape ``(samples, channels)``."""


class MeanMinMax(_MeanOfSamples):
    """The mean over the samples of each sample's smallest and largest value."""

    def ends(self, values):
        return tf.reduce_min(values, 1), tf.reduce_max(values, 1)


class MixedMinMax(MeanMinMax):
    """The mean of the extremes of each sample where a sample has many values, else the extremes of all samples.

    Of many values the extremes are outliers, and their mean cuts off little; of few values it would cut off a lot.
    """

    MANY = 1024

    def __init__(self, channels: int, **percentiles):
        super().__init__(channels, **percentiles)
        self.extremes = MinMax(channels)
        self.values = tf.Variable(0)

    def update(self, values):
        super().update(values)
        self.extremes.update(values)
        self.values.assign(tf.maximum(self.values, tf.shape(values)[1]))

    def range(self):
        return super().range() if self.values.numpy() >= self.MANY else self.extremes.range()


class MeanPercentile(_MeanOfSamples):
    """The mean over the samples of each sample's percentiles, exact, with linear interpolation."""

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


class _Histogram(RangeEstimator):
    """Counts of values by the leading bits of their floating point form.

    Sign, exponent and the first seven bits of the mantissa name the bin (the bits of a bfloat16), so that bins are
    narrow where values are small, no range has to be known beforehand, and a value is known to within 1 %. With
    several channels three bits of mantissa are kept, interpolated within the bin.
    """

    def __init__(self, channels: int, **percentiles):
        super().__init__(channels, **percentiles)
        self.bits = 16 if channels == 1 else 12
        self.counts = tf.Variable(tf.zeros([channels * 2**self.bits], tf.int64))
        self.extremes = MinMax(channels)

    def update(self, values):
        self.extremes.update(values)
        patterns = tf.bitcast(tf.cast(values, tf.float32), tf.uint32)
        bins = tf.cast(tf.bitwise.right_shift(patterns, tf.constant(32 - self.bits, tf.uint32)), tf.int32)
        bins += tf.range(self.channels) * 2**self.bits
        size = self.channels * 2**self.bits
        counts = tf.math.bincount(tf.reshape(bins, [-1]), minlength=size, maxlength=size)
        self.counts.assign_add(tf.cast(counts, tf.int64))

    def ordered(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower edges of the bins in ascending order, one more than bins, and counts ``(channels, bins)``."""
        half = 2 ** (self.bits - 1)
        finite = half // 256 * 255  # exponents below the one of infinity and NaN
        magnitudes = (np.arange(finite + 1, dtype=np.uint32) << (32 - self.bits)).view(np.float32).astype(np.float64)
        magnitudes[-1] = 2 * magnitudes[-2]
        counts = self.counts.numpy().reshape(self.channels, 2, half)[:, :, :finite]
        edges = np.concatenate([-magnitudes[:0:-1], magnitudes])
        return edges, np.concatenate([counts[:, 1, ::-1], counts[:, 0]], axis=1)

    def usable_range(self):
        low, high = self.range()
        smallest, largest = self.extremes.range()
        only_zero = (low == 0) & (high == 0)  # nearly all values are zero; the few others must fit too
        return np.where(only_zero, smallest, low), np.where(only_zero, largest, high)

    def quantile(self, share: float) -> np.ndarray:
        """Return the value below which ``share`` of the values lie, per channel, as float64."""
        edges, counts = self.ordered()
        return _quantile(edges, counts, share)


class Percentile(_Histogram):
    """The percentiles of all values of all samples together, from a histogram."""

    def range(self):
        low, high = (self.quantile(percentile / 100) for percentile in self.percentiles)
        return low.astype(np.float32), high.astype(np.float32)


class ThreeSigma(_Histogram):
    """Median plus and minus three standard deviations, these estimated by 1.4826 times the median absolute deviation."""

    def range(self):
        edges, counts = self.ordered()
        median = _quantile(edges, counts, 0.5)
        centers = (edges[:-1] + edges[1:]) / 2
        centers[(edges[:-1] == 0) | (edges[1:] == 0)] = 0.0
        low, high = [], []
        for channel, middle in enumerate(median):
            deviations = np.abs(centers - middle)
            order = np.argsort(deviations)
            cumulated = np.cumsum(counts[channel][order])
            position = np.searchsorted(cumulated, cumulated[-1] / 2)
            spread = 3 * 1.4826 * deviations[order][position]
            low.append(middle - spread)
            high.append(middle + spread)
        return np.array(low, np.float32), np.array(high, np.float32)


def _quantile(edges: np.ndarray, counts: np.ndarray, share: float) -> np.ndarray:
    quantiles = []
    for channel in counts:
        cumulated = np.cumsum(channel)
        target = share * cumulated[-1]
        position = min(int(np.searchsorted(cumulated, max(target, 1e-9))), len(channel) - 1)
        before = cumulated[position] - channel[position]
        inside = (target - before) / channel[position] if channel[position] else 0.0
        zero_bin = edges[position] == 0.0 or edges[position + 1] == 0.0
        value = edges[position] + inside * (edges[position + 1] - edges[position])
        quantiles.append(0.0 if zero_bin else value)
    return np.array(quantiles)


#: The names of the configuration.
ESTIMATORS: dict[str, type[RangeEstimator]] = {
    "mixed_min_max": MixedMinMax,
    "min_max": MinMax,
    "mean_min_max": MeanMinMax,
    "threesigma": ThreeSigma,
    "percentile": Percentile,
    "mean_percentile": MeanPercentile,
}
