"""widened_grid: a grid of more bits around one of fewer, with the same step and the same zero."""

from __future__ import annotations

import numpy as np

from keras_compress.numerics import number_of_steps

__all__ = ["widened_grid"]


def widened_grid(
    scale: np.ndarray, zero_point: np.ndarray, num_bits: int, *, narrow_range: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of a grid of ``num_bits`` with a zero point and, to the last bit, a step.

    Args:
        scale: steps, float32, in a row.
        zero_point: numbers of the levels that are zero, int32, shaped as ``scale``.
        num_bits: of the new grid.
        narrow_range: whether it leaves out its lowest level; zero is in its middle then.

    Example:
        >>> low, high = widened_grid(np.float32([0.5]), np.int32([0]), 8, narrow_range=False)
        >>> low.item(), high.item()
        (0.0, 127.5)
    """
    steps = np.float32(number_of_steps(num_bits, narrow_range=narrow_range))
    offset = np.full_like(zero_point, 2 ** (num_bits - 1) - 1) if narrow_range else zero_point
    low = (-offset * scale.astype(np.float64)).astype(np.float32)
    high = ((steps - offset) * scale.astype(np.float64)).astype(np.float32)
    for _ in range(8):
        error = (high - low) / steps - scale
        toward = np.where(error > 0, -np.inf, np.inf).astype(np.float32)
        high = np.where(error == 0, high, np.nextafter(high, toward))
    return low, high
