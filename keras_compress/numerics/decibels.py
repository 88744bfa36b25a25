"""decibels: how far results are from those that are expected, as a ratio of signal to error."""

from __future__ import annotations

import math

__all__ = ["decibels"]


def decibels(error: float) -> float:
    """Return the power of an error over the power of its signal as a ratio of signal to error in dB.

    ``-10 * log10(error)``: infinite without an error, NaN if the error is.

    Example:
        >>> decibels(0.001), decibels(0.0)
        (30.0, inf)
    """
    return math.inf if error == 0 else -10 * math.log10(error)
