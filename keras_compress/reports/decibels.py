"""Decibels: a relative error as the ratio of signal to error, and that ratio as text."""

from __future__ import annotations

import math

__all__ = ["decibels", "decibels_text"]


def decibels(error: float) -> float:
    """Return the power of an error over the power of its signal as a ratio of signal to error in dB.

    ``-10 * log10(error)``: infinite without an error, NaN if the error is.

    Example:
        >>> decibels(0.001), decibels(0.0)
        (30.0, inf)
    """
    return math.inf if error == 0 else -10 * math.log10(error)


def decibels_text(ratio: float | None) -> str:
    """Return a ratio in dB as text; nothing for None, which says that nobody asked.

    Example:
        >>> [decibels_text(ratio) for ratio in (30.0, math.inf, math.nan, None)]
        ['30.0 dB', 'no error', 'not measured', '']
    """
    if ratio is None:
        return ""
    if math.isnan(ratio):
        return "not measured"
    return "no error" if math.isinf(ratio) else f"{ratio:.1f} dB"
