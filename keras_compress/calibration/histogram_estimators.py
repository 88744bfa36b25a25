"""Range estimators that need all values at once, and keep a histogram in their place."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_compress.calibration.range_estimator import RangeEstimator
from keras_compress.calibration.sample_estimators import MinMax

__all__ = ["Histogram", "Percentile", "ThreeSigma"]


class Histogram(RangeEstimator):
    """Counts of values by the leading bits of their floating point form.

    Sign, exponent and the first seven bits of the mantissa name the bin (the bits of a bfloat16), so that bins are
    narrow where values are small, no range has to be known beforehand, and a value is known to within 1 %. With
    several channels three bits of mantissa are kept, interpolated within the bin.
    """

    def __init__(self, channels: int, **settings):
        super().__init__(channels, **settings)
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
        """Return the quantile ``share`` of each channel, as float64."""
        edges, counts = self.ordered()
        return _quantile(edges, counts, share)


class Percentile(Histogram):
    """The percentiles of all values of all samples together, from a histogram: exact up to the width of a bin.

    Example:
        >>> estimator = Percentile(channels=1, low_percentile=10, high_percentile=90)
        >>> estimator.update(tf.reshape(tf.linspace(0.0, 100.0, 1001), (1, 1001, 1)))
        >>> [round(float(end[0])) for end in estimator.range()]
        [10, 90]
    """

    def range(self):
        low, high = (self.quantile(percentile / 100) for percentile in self.percentiles)
        return low.astype(np.float32), high.astype(np.float32)


class ThreeSigma(Histogram):
    """Median plus and minus three standard deviations, estimated as 1.4826 times the median absolute deviation.

    The factor makes the estimate that of a normal distribution.

    Example:
        >>> estimator = ThreeSigma(channels=1)
        >>> values = np.random.default_rng(0).normal(size=(1, 10_000, 1)).astype(np.float32)
        >>> estimator.update(tf.constant(values))
        >>> [round(float(end[0])) for end in estimator.range()]
        [-3, 3]
    """

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
