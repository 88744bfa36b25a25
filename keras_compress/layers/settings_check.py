"""Settings of operations, checked when an operation is made: a file or a state may hold anything in their place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

from keras_compress.errors import short_repr

__all__ = [
    "LARGEST_RANGE",
    "checked_axes",
    "checked_flag",
    "checked_number",
    "checked_range",
    "checked_whole",
    "is_whole",
    "positive_axes",
]

#: What the width of a range must stay below, so that float32 holds it and its steps.
LARGEST_RANGE = 1e38


def checked_whole(value: Any, key: str, name: str, low: int, high: int) -> int:
    """Return a whole number from ``low`` to ``high``.

    Args:
        value: what should be one.
        key: the name of the setting, for the message.
        name: of the operation, for the message.
        low, high: what is allowed.

    Raises:
        ValueError: it is none.
    """
    if not is_whole(value) or not low <= value <= high:
        raise ValueError(
            f"'{name}' takes a whole number from {low} to {high} as '{key}'. Received: {key}={short_repr(value)}."
        )
    return int(value)


def checked_number(value: Any, key: str, name: str) -> float:
    """Return a finite number above 0; see :func:`checked_whole`.

    Raises:
        ValueError: it is none.
    """
    if not _is_number(value) or not value > 0 or not math.isfinite(value):
        raise ValueError(f"'{name}' takes a number above 0 as '{key}'. Received: {key}={short_repr(value)}.")
    return value


def checked_flag(value: Any, key: str, name: str) -> bool:
    """Return True or False; see :func:`checked_whole`.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, bool):
        raise ValueError(f"'{name}' takes True or False as '{key}'. Received: {key}={short_repr(value)}.")
    return value


def checked_range(ends: Any, key: str, name: str, *, symmetric: bool = False) -> tuple[float, float] | None:
    """Return the ends of a range with zero in it, None for none; see :func:`checked_whole`.

    Args:
        ends: what should be two numbers.
        key, name: as for :func:`checked_whole`.
        symmetric: whether the lower end must be 0, or minus the upper one. Default False.

    Raises:
        ValueError: they are no such range.
    """
    if ends is None:
        return None
    pair = list(ends) if isinstance(ends, (list, tuple)) else []
    numbers = len(pair) == 2 and all(map(_is_number, pair))
    if not numbers or not (pair[0] <= 0 <= pair[1] and 0 < pair[1] - pair[0] < LARGEST_RANGE):
        raise ValueError(
            f"'{name}' takes two finite numbers with zero between them as '{key}', or None. Received: {key}={short_repr(ends)}."
        )
    low, high = map(float, pair)
    if symmetric and low not in (0.0, -high):
        raise ValueError(f"'{name}' takes (0, high) or (-high, high) as '{key}'. Received: {key}={short_repr(ends)}.")
    return low, high


def checked_axes(axes: Iterable[Any] | None, name: str) -> tuple[int, ...] | None:
    """Return axes of a tensor as a tuple, None for none.

    Raises:
        ValueError: they are no different whole numbers.
    """
    if axes is None:
        return None
    listed = tuple(axes) if isinstance(axes, Iterable) and not isinstance(axes, (str, bytes)) else None
    if listed is None or not all(map(is_whole, listed)) or len(set(listed)) != len(listed):
        raise ValueError(
            f"'{name}' takes different whole numbers as 'channel_axes', or None. Received: channel_axes={short_repr(axes)}."
        )
    return tuple(int(axis) for axis in listed)


def positive_axes(axes: Sequence[int], rank: int, name: str) -> set[int]:
    """Return axes of a tensor counted from the first.

    Raises:
        ValueError: the tensor does not have one of them, or one stands twice.
    """
    counted = {axis % rank for axis in axes if -rank <= axis < rank}
    if len(counted) != len(axes):
        raise ValueError(
            f"'{name}' has channel_axes={tuple(axes)} and is on a tensor of {rank} axes. Expected: different axes from {-rank} to "
            f"{rank - 1}."
        )
    return counted


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number, also one of NumPy; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, Real) and not isinstance(value, bool) and not (isinstance(value, int) and abs(value) > 2**63)
    )
