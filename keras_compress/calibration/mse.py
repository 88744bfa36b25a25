"""The range of least mean squared error: a narrower range clips more and rounds less.

With ``s = (high - low) / steps`` and the offset ``z = round(-low / s)`` of the grid, the error of a range is::

    sum((x - s * clip(round(x / s), -z, steps - z))**2)

Candidates are the extremes scaled by a geometric grid of factors; the search stops early once the error exceeds
``EARLY_STOP`` times the best. :class:`MSEEstimator` keeps a histogram, for activations; :class:`ExactMSEEstimator`
keeps the values, for weights.

Source: Banner et al. 2019, arXiv:1810.05723; Choukroun et al. 2019, arXiv:1902.06822.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_compress.calibration.histogram_estimators import Histogram
from keras_compress.calibration.range_estimator import ExactEstimator
from keras_compress.layers import FakeQuantize, SymmetricFakeQuantize
from keras_compress.numerics import SMALLEST_RANGE

__all__ = ["ExactMSEEstimator", "MSEEstimator", "mse_range"]

#: Factors of the extremes that are tried: 1 % apart down to a half, where the best range of many bits lies, and 3 %
#: apart below. Under the last, 1 / 30,000, clipping even one value of 10**9 costs more than finer steps can save.
FACTORS = np.concatenate([0.99 ** np.arange(70), 0.99**69 * 0.97 ** np.arange(1, 320)])

#: Candidates whose grids are computed together.
BLOCK = 32

#: Early-stopping factor: an error this many times the least ends the search in a direction. The error of clipping grows
#: with every narrower range, that of rounding with every wider one.
EARLY_STOP = 2.5

NARROWER, WIDER = 1, -1

#: How often the ends of an asymmetric grid are moved in turn, and what is left of the error where that goes on.
ROUNDS, SETTLED = 4, 0.99

#: Values that are quantized together: they and one copy of them fit into the cache of a core.
CHUNK = 2**16

#: ``(step, lowest, highest, channels) -> errors``: the summed squared error of some channels, in units of the squared
#: step. The levels of channel ``channels[i]`` are ``step[i]`` times the integers from ``lowest[i]`` to ``highest[i]``.
SquaredError = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def mse_range(
    low: np.ndarray, high: np.ndarray, quantizer: FakeQuantize, squared_error: SquaredError
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best of the ranges that come from shrinking the extremes, for each channel.

    Both ends are shrunk together first. The ends of an asymmetric grid are then moved one after the other, in several
    rounds, until that helps no more.

    Args:
        low, high: extremes of each channel, of shape ``(channels,)``.
        quantizer: whose grid it is.
        squared_error: the error of a grid.

    Returns:
        The ends as float32, never outside of the extremes.
    """
    search = _Search(low, high, quantizer, squared_error)
    unsettled = np.isfinite(search.least)
    search.walk([0, 1], NARROWER, unsettled)
    if isinstance(quantizer, SymmetricFakeQuantize):
        return search.ends(search.positions)
    for _ in range(ROUNDS):
        before = search.least
        for end in (0, 1):
            search.walk([end], NARROWER, unsettled)
            search.walk([end], WIDER, unsettled)
        unsettled = search.least < SETTLED * before
    return search.ends(search.positions)


class _Search:
    """The best range so far.

    Attributes:
        positions: indices of FACTORS for the low and the high end, of shape ``(2, channels)``.
        least: the errors.
    """

    def __init__(self, low: np.ndarray, high: np.ndarray, quantizer: FakeQuantize, squared_error: SquaredError):
        self._extremes = np.stack([low, high]).astype(np.float32)
        self._quantizer = quantizer
        self._squared_error = squared_error
        self.positions = np.zeros(self._extremes.shape, np.intp)
        (grid,) = self._grids(self.positions[np.newaxis])
        self.least = self._error(grid, np.ones(len(low), bool))

    def ends(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of ranges as float32; ``positions`` may have leading axes."""
        ends = (FACTORS[positions] * self._extremes).astype(np.float32)
        return ends[..., 0, :], ends[..., 1, :]

    def walk(self, moving: list[int], direction: int, channels: np.ndarray) -> None:
        """Move some of the ends along the ladder while the others stay, and leave each channel on its best position.

        Args:
            moving: 0 for the low end, 1 for the high end.
            direction: NARROWER or WIDER.
            channels: mask of the channels to move.
        """
        wanted = channels & np.array([self._extremes[0] < 0, self._extremes[1] > 0])[moving].any(axis=0)
        start = self.positions.copy()
        for first in range(1, len(FACTORS), BLOCK):
            positions = np.tile(start, (BLOCK, 1, 1))
            positions[:, moving] += direction * np.arange(first, first + BLOCK)[:, np.newaxis, np.newaxis]
            valid = np.all((positions >= 0) & (positions < len(FACTORS)), axis=1)
            positions = np.clip(positions, 0, len(FACTORS) - 1)
            for position, there, grid in zip(positions, valid, self._grids(positions), strict=True):
                wanted = wanted & there
                if not wanted.any():
                    return
                errors = self._error(grid, wanted)
                better = errors < self.least
                self.least = np.where(better, errors, self.least)
                self.positions[:, better] = position[:, better]
                wanted = wanted & (errors <= EARLY_STOP * self.least)

    def _grids(self, positions: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return step, lowest and highest level of each of the ranges; the step is 0 where a range vanishes."""
        low, high = self._quantizer.range_for(*self.ends(positions))
        steps = np.float32(self._quantizer.steps)
        step = np.where(high - low < SMALLEST_RANGE, np.float32(0), (high - low) / steps)
        offset = np.round(np.divide(-low, step, out=np.zeros_like(step), where=step > 0))
        return list(zip(step, -offset, steps - offset, strict=True))

    def _error(self, grid: tuple[np.ndarray, np.ndarray, np.ndarray], wanted: np.ndarray) -> np.ndarray:
        """Return the errors of the wanted channels, and infinity for others and for ranges that vanish."""
        channels = np.flatnonzero(wanted & (grid[0] > 0))
        step, lowest, highest = (numbers[channels] for numbers in grid)
        errors = np.full(len(wanted), np.inf)
        errors[channels] = self._squared_error(step, lowest, highest, channels) * np.square(step, dtype=np.float64)
        return errors


class MSEEstimator(Histogram):
    """The range of least mean squared error, from a histogram of the values; for activations.

    The error of a bin follows from its count and its centre. Needs the quantizer, whose grid decides.
    """

    needs_grid = True

    def range(self):
        low, high = self.extremes.range()
        edges, counts = self.ordered()
        used = counts.any(axis=0)
        counts = counts[:, used].astype(np.float64)
        ends = low[:, np.newaxis].astype(np.float64), high[:, np.newaxis].astype(np.float64)
        below, above = np.clip(edges[:-1][used], *ends), np.clip(edges[1:][used], *ends)

        def squared_error(step, lowest, highest, channels):
            step, lowest, highest = (numbers[:, np.newaxis].astype(np.float64) for numbers in (step, lowest, highest))

            def residual(units):
                level = np.clip(np.rint(units), lowest, highest)
                return level, units - level

            start, end = below[channels] / step, above[channels] / step
            (level_of_start, from_start), (level_of_end, from_end) = residual(start), residual(end)
            integral = (level_of_end - level_of_start) / 12 + (from_end**3 - from_start**3) / 3
            mean = np.divide(integral, end - start, out=from_start**2, where=end > start)
            return (counts[channels] * mean).sum(axis=1)

        return mse_range(low, high, self.quantizer, squared_error)


class ExactMSEEstimator(ExactEstimator):
    """The range with the least mean squared error of quantization, exactly."""

    needs_grid = True

    def range(self):
        return mse_range(*self.extremes(), self.quantizer, self._squared_error)

    def _squared_error(self, step, lowest, highest, channels):
        errors = np.zeros(len(channels))
        width = max(1, min(self.values.shape[1], CHUNK))
        height = CHUNK // width
        for row in range(0, len(channels), height):
            rows = channels[row : row + height]
            grid = [numbers[row : row + height, np.newaxis] for numbers in (step, lowest, highest)]
            for column in range(0, self.values.shape[1], width):
                part = self.values[rows, column : column + width]
                errors[row : row + height] += _squared_error(part, *grid)
        return errors


def _squared_error(values: np.ndarray, step: np.ndarray, lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
    units = values / step
    levels = np.rint(units)
    np.maximum(levels, lowest, out=levels)
    np.minimum(levels, highest, out=levels)
    units -= levels
    units *= units
    return units.sum(axis=1)
