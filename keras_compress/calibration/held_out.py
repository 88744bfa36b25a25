"""HeldOutSamples: registered samples that take no part in a calibration, so that a correction can be judged on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from keras_compress.data import Batch, Dataset, InputSpec

__all__ = ["HeldOutSamples", "hold_out"]

#: Samples to judge on: at most, and at least where there are more than the calibration takes.
MOST, FEWEST = 64, 16
#: Where there are no more, this share of what the calibration takes is kept from the corrections.
SHARE = 4
#: Bytes that are kept at most, but for one batch.
MOST_BYTES = 2**28

BATCH = 32


@dataclass(frozen=True)
class HeldOutSamples:
    """Samples in batches, and where they stand in the data.

    Attributes:
        positions: of the samples in the data; empty where a single sample has to judge what it was used for.
        batches: each with the number of its rows, from the first, that do not judge.
    """

    positions: range
    batches: tuple[tuple[Batch, int], ...]

    def corrected_on(self, samples: int) -> int:
        """Return how many of the first ``samples`` samples a correction may be measured on."""
        return min(samples, self.positions.start)


def hold_out(data: Dataset, specs: Sequence[InputSpec], used: int) -> HeldOutSamples:
    """Return samples behind those that a calibration uses, or the last quarter of all where there are no more.

    A sample that is alone judges what it was used for.

    Args:
        data: the samples.
        specs: the inputs of the model.
        used: how many, from the first, the calibration uses.

    Example:
        >>> import numpy as np
        >>> specs = [InputSpec("x", (2,), "float32")]
        >>> hold_out(Dataset(np.zeros((500, 2), np.float32)), specs, used=300).positions
        range(300, 364)
        >>> hold_out(Dataset(np.zeros((100, 2), np.float32)), specs, used=300).positions
        range(75, 100)
    """
    recent: deque[tuple[int, Batch]] = deque()
    seen = size = 0
    for batch in data.batches(specs, BATCH, used + MOST):
        recent.append((seen, batch))
        seen += batch.samples
        size += _bytes(batch)
        while len(recent) > 1 and (seen - recent[1][0] >= MOST or size > MOST_BYTES):
            size -= _bytes(recent.popleft()[1])
    start = used if seen - used >= FEWEST else seen - max(seen // SHARE, 1)
    start = max(start, recent[0][0], seen - MOST)
    batches = [(batch, max(start - first, 0)) for first, batch in recent if first + batch.samples > start]
    return HeldOutSamples(range(start or seen, seen), tuple(batches))


def _bytes(batch: Batch) -> int:
    return sum(array.nbytes for array in batch.inputs)
