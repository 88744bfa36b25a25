"""StoredWeight: a constant as a file holds it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["StoredWeight"]


@dataclass(frozen=True)
class StoredWeight:
    """A constant as a file holds it.

    Attributes:
        name: its name in the file.
        values: the dequantized numbers, float32, in any order of axes.
        stored_as: type of the numbers in the file, as ``"int8"``, ``"u1"``, ``"float32"``.
        size: bytes it takes in the file, without scales.
        on_grid: whether the file states the grid of the numbers: they are integers, or inputs of a quantizer.
        input_quantized: whether the operation that computes with it reads integers; None if there is no such operation.
        runs_in_integers: whether the runtime computes it in integers; None if that is not known.
    """

    name: str
    values: np.ndarray
    stored_as: str
    size: int
    on_grid: bool
    input_quantized: bool | None = None
    runs_in_integers: bool | None = None
