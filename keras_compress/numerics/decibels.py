"""decibels: how far results are from those that are expected, as a ratio of signal to error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

__all__ = ["decibels", "relative_error"]


def decibels(error: float) -> float:
    """Return the power of an error over the power of its signal as a ratio of signal to error in dB.

    ``-10 * log10(error)``: infinite without an error, NaN if the error is.

    Example:
        >>> decibels(0.001), decibels(0.0)
        (30.0, inf)
    """
    return math.inf if error == 0 else -10 * math.log10(error)


def relative_error(batches: Iterable[tuple[Sequence[np.ndarray], Sequence[np.ndarray]]]) -> float:
    """Return the power of an error over that of its signal, the mean over several outputs; values count where the signal is finite.

    Args:
        batches: what is expected and what was found, for each batch one array per output.

    Example:
        >>> relative_error([([np.array([3.0, 4.0])], [np.array([3.0, 4.5])])])
        0.01
    """
    powers = [[_powers(*pair) for pair in zip(expected, found, strict=True)] for expected, found in batches]
    signal, error = np.sum(powers, axis=0).reshape(-1, 2).T
    known = signal > 0
    return float(np.mean(error[known] / signal[known])) if known.any() else 0.0


def _powers(expected: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Return the power of a signal and that of its error, where the signal is finite."""
    finite = np.isfinite(expected)
    expected, found = expected[finite], found[finite]
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sum(np.abs(expected) ** 2)), float(np.sum(np.abs(found - expected) ** 2))
