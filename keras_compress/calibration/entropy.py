"""The range for which the distribution of the values loses least when they are quantized, by Kullback-Leibler divergence.

A threshold cuts off the magnitudes above it. What is left (reference ``P``: 2,048 bins of magnitudes up to the largest,
the outliers added to the last bin below the threshold) is compared with what the levels of the grid tell about it
(candidate ``Q``: the mass of each level spread over those of its bins that are not empty, outliers left out)::

    divergence = sum(P * log(P / Q))

Zeros are left out: every grid represents them exactly, and a rectified activation has so many that nothing else would
count. How values are kept is left to two estimators: as a histogram, for activations, or as they are, for weights.

Source: Migacz 2017, "8-bit inference with TensorRT", NVIDIA GPU Technology Conference, session 7310.
"""

from __future__ import annotations

import numpy as np

from keras_compress.calibration.histogram_estimators import Histogram
from keras_compress.calibration.range_estimator import ExactEstimator
from keras_compress.layers import FakeQuantize
from keras_compress.numerics import SMALLEST_RANGE

__all__ = ["BINS", "EntropyEstimator", "ExactEntropyEstimator", "entropy_range"]

#: Bins of magnitudes, from zero to the largest.
BINS = 2048

#: Bins from one threshold that is tried to the next.
STRIDE = 8

#: Parts in which the grids of all thresholds are computed, and channels whose divergences are: what fits into a cache.
BLOCKS, GROUP = 8, 32

#: Lower bound of Q in a non-empty bin, so that one outlier does not dominate the divergence.
FLOOR = 1e-9


def entropy_range(
    low: np.ndarray, high: np.ndarray, counts: np.ndarray, quantizer: FakeQuantize
) -> tuple[np.ndarray, np.ndarray]:
    """Return the extremes, clipped to the threshold of least divergence, for each channel.

    A threshold has at least as many bins as the grid has levels for magnitudes.

    Args:
        low, high: extremes of each channel, of shape ``(channels,)``.
        counts: values by magnitude without zeros, of shape ``(channels, BINS)``.
        quantizer: whose grid it is.

    Returns:
        The ends as float32.
    """
    largest = np.maximum(np.abs(low), np.abs(high)).astype(np.float64)
    bin_width = np.where(largest > 0, largest, 1.0) / BINS
    tried = np.arange(BINS, 1, -STRIDE)
    steps = []
    for thresholds in np.array_split(tried, BLOCKS):
        lowest, highest = quantizer.range_for(*_clipped(low, high, thresholds[:, np.newaxis] * bin_width))
        width = (highest - lowest).astype(np.float64)
        steps.append(np.where(width < SMALLEST_RANGE, np.inf, width / quantizer.steps / bin_width))
    step = np.concatenate(steps)
    groups = range(0, len(low), GROUP)
    best = [_best(tried, step[:, first : first + GROUP], counts[first : first + GROUP]) for first in groups]
    return _clipped(low, high, np.concatenate(best) * bin_width)


def _best(tried: np.ndarray, steps: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the threshold of least divergence for each channel, the largest if several have it or none has one.

    Args:
        tried: thresholds in bins, from the largest down.
        steps: for each threshold and channel the width of a level, in bins; infinite where a range vanishes.
        counts: values by magnitude.
    """
    divergence = _Divergence(counts)
    least, best = np.full(len(counts), np.inf), np.full(len(counts), BINS)
    for bins, step in zip(tried.tolist(), steps, strict=True):
        enough = np.isfinite(step) & (bins >= np.round(bins / step) + 1)
        if not enough.any():
            break
        divergences = np.where(enough, divergence(bins, np.where(enough, step, bins)), np.inf)
        better = divergences < least
        least, best = np.where(better, divergences, least), np.where(better, bins, best)
    return best


def _clipped(low: np.ndarray, high: np.ndarray, threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(low, -threshold).astype(np.float32), np.minimum(high, threshold).astype(np.float32)


class _Divergence:
    """The divergence at any threshold, from cumulated sums: its cost is that of the levels and not of the bins."""

    def __init__(self, counts: np.ndarray):
        self._counts = counts.astype(np.float64)
        self._mass = _cumulated(self._counts)
        self._occupied = _cumulated(self._counts > 0)
        self._entropy = _cumulated(_x_log_x(self._counts))

    def __call__(self, bins: int, step: np.ndarray) -> np.ndarray:
        """Return the divergence of each channel; infinite where no value is below the threshold.

        Args:
            bins: the threshold.
            step: width of a level of each channel, in bins.
        """
        total, inside = self._mass[:, -1:], self._mass[:, bins, np.newaxis]
        outliers = total - inside
        last = self._counts[:, bins - 1, np.newaxis]

        bounds = _bounds(bins, step)
        mass, occupied = (
            np.diff(np.take_along_axis(sums, bounds, axis=1), axis=1) for sums in (self._mass, self._occupied)
        )
        holds_last = (bounds[:, :-1] < bins) & (bounds[:, 1:] == bins)
        reference = mass + holds_last * outliers
        occupied = occupied + holds_last * ((last == 0) & (outliers > 0))

        candidate = np.divide(mass, occupied * inside, out=np.zeros_like(mass), where=mass > 0)
        cross = (reference * np.log(np.maximum(candidate, FLOOR))).sum(axis=1, keepdims=True)
        entropy = self._entropy[:, bins - 1, np.newaxis] + _x_log_x(last + outliers) - _x_log_x(total)
        divergence = np.divide(entropy - cross, total, out=np.full_like(total, np.inf), where=inside > 0)
        return divergence[:, 0]


def _bounds(bins: int, step: np.ndarray) -> np.ndarray:
    """Return the first bin of each level and, last, ``bins``; a bin belongs to the level that its centre is rounded to."""
    levels = np.arange(1, int(np.round(bins / step.min())) + 1)
    bounds = np.ceil((levels - 0.5) * step[:, np.newaxis] - 0.5)
    ends = np.zeros((len(step), 1)), np.full((len(step), 1), bins)
    return np.clip(np.concatenate([ends[0], bounds, ends[1]], axis=1), 0, bins).astype(np.intp)


def _cumulated(numbers: np.ndarray) -> np.ndarray:
    return np.pad(np.cumsum(numbers, axis=1, dtype=np.float64), ((0, 0), (1, 0)))


def _x_log_x(numbers: np.ndarray) -> np.ndarray:
    return numbers * np.log(np.where(numbers > 0, numbers, 1.0))


class EntropyEstimator(Histogram):
    """The range of least divergence, from a histogram of the values; for activations. Needs the quantizer, whose grid decides."""

    needs_grid = True

    def range(self):
        low, high = self.extremes.range()
        return entropy_range(low, high, self._magnitudes(np.maximum(-low, high)), self.quantizer)

    def _magnitudes(self, largest: np.ndarray) -> np.ndarray:
        """Return values by magnitude without zeros, in ``BINS`` bins up to the largest; in a bin they are spread evenly."""
        edges, counts = self.ordered()
        middle = counts.shape[1] // 2
        edges = edges[middle:]
        counts = (counts[:, middle:] + counts[:, middle - 1 :: -1])[:, 1:]
        resampled = []
        for channel, limit in zip(counts, largest.astype(np.float64), strict=True):
            cumulated = np.concatenate([[0], np.cumsum(channel)])
            resampled.append(
                np.diff(np.interp(np.linspace(0, limit, BINS + 1), np.minimum(edges[1:], limit), cumulated))
            )
        return np.array(resampled)


class ExactEntropyEstimator(ExactEstimator):
    """The range of least divergence, from the values themselves; for weights. Needs the quantizer, whose grid decides."""

    needs_grid = True

    def range(self):
        low, high = self.extremes()
        largest = np.maximum(-low, high)
        counts = [
            np.histogram(np.abs(channel[channel != 0]) / (limit or 1), BINS, (0, 1))[0]
            for channel, limit in zip(self.values, largest, strict=True)
        ]
        return entropy_range(low, high, np.array(counts), self.quantizer)
