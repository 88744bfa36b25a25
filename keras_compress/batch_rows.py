"""Rows of a batch of fixed size: samples that fill it up, and the part of a result that belongs to some of them."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["filled_up", "rows_of_samples"]


def filled_up(array: np.ndarray, size: int) -> np.ndarray:
    """Return the first ``size`` samples of an array, the last one repeated where there are fewer.

    Example:
        >>> filled_up(np.array([1, 2]), 4).tolist()
        [1, 2, 2, 2]
    """
    return array[np.minimum(np.arange(size), len(array) - 1)]


def rows_of_samples(made: Any, batch_size: int, samples: int) -> Any:
    """Return the part of an array or tensor that belongs to the first samples of a batch.

    Its first axis may be a multiple of the batch. What does not depend on the batch is returned whole.

    Args:
        made: what was computed for the batch.
        batch_size: its size.
        samples: how many of its rows are samples.

    Example:
        >>> rows_of_samples(np.arange(6), batch_size=3, samples=2).tolist()
        [0, 1, 2, 3]
    """
    size = made.shape[0] if len(made.shape) else None
    if samples == batch_size or size is None or size % batch_size:
        return made
    return made[: size // batch_size * samples]
