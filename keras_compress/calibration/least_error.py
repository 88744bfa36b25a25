"""The range whose quantization error is least: what a narrower range cuts off is weighed against its finer steps.

With ``s = (high - low) / steps`` and the offset ``z = round(-low / s)`` of the grid, the error of a range is::

    sum((x - s * clip(round(x / s), -z, steps - z))**2)

The candidates are the extremes of the values times the rungs of a ladder, as far as there is hope. How values are kept is left to two estimators:
as a histogram, for activations, or as they are, for weights.

Source: Banner et al. 2019, arXiv:1810.05723; Choukroun et al. 2019, arXiv:1902.06822.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_compress.calibration.histogram_estimators import Histogram
from keras_compress.calibration.kept_values import KeptValues
from keras_compress.layers import FakeQuantize, SymmetricFakeQuantize
from keras_compress.numerics import SMALLEST_RANGE

__all__ = ["LeastError", "LeastErrorOfWeights", "least_error_range"]

#: Shares of the extremes that are tried: 1 % apart down to a half, where the best range of many bits lies, and 3 % apart
#: below. Under the last, at 1 / 30,000, cutting off even one value of 10**9 costs more than finer steps can save.
LADDER = np.concatenate([0.99 ** np.arange(70), 0.99**69 * 0.97 ** np.arange(1, 320)])

#: Rungs whose grids are computed together.
BLOCK = 32

#: An error so many times the least ends a walk. Narrower ranges cut off ever more: more than the least error if the part
#: that is rounded is no larger than it was, and half as much again is left to chance. Wider ranges have ever larger steps.
HOPELESS = 2.5

NARROWER, WIDER = 1, -1

#: How often the ends of an asymmetric grid are moved in turn, and what is left of the error where that goes on.
ROUNDS, SETTLED = 4, 0.99

#: Values that are quantized together: they and one copy of them fit into the cache of a core.
CHUNK = 2**16

#: ``(step, lowest, highest, channels) -> errors``: the summed squared error of some channels, in units of the squared
#: step. The levels of channel ``channels[i]`` are ``step[i]`` times the integers from ``lowest[i]`` to ``highest[i]``.
SquaredError = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def least_error_range(
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
        return search.ends(search.rungs)
    for _ in range(ROUNDS):
        before = search.least
        for end in (0, 1):
            search.walk([end], NARROWER, unsettled)
            search.walk([end], WIDER, unsettled)
        unsettled = search.least < SETTLED * before
    return search.ends(search.rungs)


class _Search:
    """The best range so far.

    Attributes:
        rungs: where on the ladder the low and the high end stand, of shape ``(2, channels)``.
        least: the errors.
    """

    def __init__(self, low: np.ndarray, high: np.ndarray, quantizer: FakeQuantize, squared_error: SquaredError):
        self._extremes = np.stack([low, high]).astype(np.float32)
        self._quantizer = quantizer
        self._squared_error = squared_error
        self.rungs = np.zeros(self._extremes.shape, np.intp)
        (grid,) = self._grids(self.rungs[np.newaxis])
        self.least = self._error(grid, np.ones(len(low), bool))

    def ends(self, rungs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of ranges as float32; ``rungs`` may have leading axes."""
        ends = (LADDER[rungs] * self._extremes).astype(np.float32)
        return ends[..., 0, :], ends[..., 1, :]

    def walk(self, moving: list[int], direction: int, channels: np.ndarray) -> None:
        """Move some of the ends along the ladder while the others stay, and leave each channel on its best rung.

        Args:
            moving: 0 for the low end, 1 for the high end.
            direction: NARROWER or WIDER.
            channels: mask of the channels to move.
        """
        wanted = channels & np.array([self._extremes[0] < 0, self._extremes[1] > 0])[moving].any(axis=0)
        start = self.rungs.copy()
        for first in range(1, len(LADDER), BLOCK):
            rungs = np.tile(start, (BLOCK, 1, 1))
            rungs[:, moving] += direction * np.arange(first, first + BLOCK)[:, np.newaxis, np.newaxis]
            on_ladder = np.all((rungs >= 0) & (rungs < len(LADDER)), axis=1)
            rungs = np.clip(rungs, 0, len(LADDER) - 1)
            for rung, there, grid in zip(rungs, on_ladder, self._grids(rungs), strict=True):
                wanted = wanted & there
                if not wanted.any():
                    return
                errors = self._error(grid, wanted)
                better = errors < self.least
                self.least = np.where(better, errors, self.least)
                self.rungs[:, better] = rung[:, better]
                wanted = wanted & (errors <= HOPELESS * self.least)

    def _grids(self, rungs: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return step, lowest and highest level of each of the ranges; the step is 0 where a range vanishes."""
        low, high = self._quantizer.covered(*self.ends(rungs))
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


class LeastError(Histogram):
    """The range with the least mean squared error of quantization, from a histogram.

    Within a bin, and between the extremes, values are taken to be spread evenly. The error is then an integral that has a
    closed form: in units of the step, with ``r = clip(round(u), lowest, highest)``, from 0 to ``u``::

        integral of (t - r(t))**2 = r / 12 + (u - r)**3 / 3
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

        return least_error_range(low, high, self.quantizer, squared_error)


class LeastErrorOfWeights(KeptValues):
    """The range with the least mean squared error of quantization, exactly."""

    needs_grid = True

    def range(self):
        return least_error_range(*self.extremes(), self.quantizer, self._squared_error)

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
