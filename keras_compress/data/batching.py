"""Batching: arrays of any number of rows are cut into batches of one size, the last of them filled up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Batch", "Rebatcher"]

Arrays = Sequence[np.ndarray]


@dataclass(frozen=True)
class Batch:
    """Arrays for a model, one per input; the first ``samples`` rows are data, the rest repeats the last of them."""

    inputs: tuple[np.ndarray, ...]
    samples: int

    @property
    def data(self) -> tuple[np.ndarray, ...]:
        """The rows that are data."""
        return tuple(array[: self.samples] for array in self.inputs)


class Rebatcher:
    """Cuts chunks of rows into batches.

    Args:
        batch_size: rows of a batch.

    Example:
        >>> rebatcher = Rebatcher(2)
        >>> [batch.samples for batch in (*rebatcher.add([np.zeros((3, 1))]), *rebatcher.rest())]
        [2, 1]
    """

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._waiting: list[Arrays] = []
        self._rows = 0

    def add(self, arrays: Arrays) -> Iterator[Batch]:
        """Take rows, and yield the batches that are full. What differs in shape cannot share a batch."""
        if self._waiting and any(a.shape[1:] != b.shape[1:] for a, b in zip(self._waiting[0], arrays, strict=True)):
            yield from self.rest()
        if len(arrays[0]) == 0:
            return
        self._waiting.append(arrays)
        self._rows += len(arrays[0])
        while self._rows >= self._batch_size:
            yield Batch(self._cut(self._batch_size), self._batch_size)

    def rest(self) -> Iterator[Batch]:
        """Yield what is left as a batch of full size, its last row repeated."""
        if self._rows:
            rows = self._rows
            repeats = self._batch_size - rows
            filled = (np.concatenate([array, np.repeat(array[-1:], repeats, 0)]) for array in self._cut(rows))
            yield Batch(tuple(filled), rows)

    def _cut(self, rows: int) -> tuple[np.ndarray, ...]:
        """Take ``rows`` rows off the front of what is waiting."""
        self._rows -= rows
        taken: list[Arrays] = []
        while rows:
            chunk = self._waiting.pop(0)
            taken.append([array[:rows] for array in chunk])
            if len(chunk[0]) > rows:
                self._waiting.insert(0, [array[rows:] for array in chunk])
            rows -= len(taken[-1][0])
        return tuple(np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*taken, strict=True))
