"""step_of_grid: the step of the grid that quantized values lie on, seen from the values alone."""

from __future__ import annotations

import numpy as np

__all__ = ["step_of_grid"]

#: So many values show a grid.
MOST = 2**15
#: Differences below this share of the range are rounding of float32.
ROUNDING = 1e-5
#: By what share of a step values may lie beside the grid.
BESIDE = 0.02
#: So many pairs of neighbouring levels have to be expected among values that fall on levels by chance.
PAIRS = 16


def step_of_grid(values: np.ndarray, levels: int) -> float | None:
    """Return the distance of neighbouring levels; None where the values lie on no such grid, or are too few to show its step.

    Args:
        values: any shape; of very many only some are looked at.
        levels: how many the grid has, at most.

    Example:
        >>> step_of_grid(np.float32([0.5 * level for level in range(100)]), 256)
        0.5
        >>> step_of_grid(np.random.default_rng(0).normal(size=100), 256) is None
        True
    """
    some = values.reshape(-1)[:: max(values.size // MOST, 1)]
    distinct = np.unique(some[np.isfinite(some)]).astype(np.float64)
    if distinct.size < 2:
        return None
    gaps = np.diff(distinct)
    gaps = gaps[gaps > ROUNDING * (distinct[-1] - distinct[0])]
    if (gaps.size + 1) ** 2 < PAIRS * min(levels, PAIRS**2):
        return None
    step = float(np.median(gaps[gaps < 1.5 * gaps.min()]))
    counts = np.round(gaps / step)
    fits = np.all(np.abs(gaps - counts * step) < BESIDE * step) and np.sum(counts) < levels
    return step if fits else None
