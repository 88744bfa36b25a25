"""Find the weights of a model among the constants of a file, by their values, because converters lose names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from keras_compress.export.expected_weights import ExpectedWeight
from keras_compress.export.format import StoredWeight

__all__ = ["holds_the_values", "match_weights"]

#: Number of elements from which on a weight is compared by moments.
LARGE = 1_000_000


def match_weights(
    weights: Sequence[ExpectedWeight], stored: Sequence[StoredWeight]
) -> list[tuple[ExpectedWeight, StoredWeight | None]]:
    """Find every weight among the constants of a file, by its values in whatever order of axes they lie.

    Converters lose names, so the values are all there is. Weights of one size are told apart by their values; of two
    equal weights both are answered with the same constant. A weight that is not found is answered with the nearest
    constant of its size that no other weight claims.

    Args:
        weights: what the file should hold.
        stored: the constants of the file.
    """
    by_size: dict[int, list[StoredWeight]] = defaultdict(list)
    for constant in stored:
        by_size[constant.values.size].append(constant)
    signatures: dict[tuple[int, int], np.ndarray] = {}

    def signature(constant: StoredWeight, weight: ExpectedWeight) -> np.ndarray:
        kind = weight.bits if weight.bits in (1, 32) else 8
        if (id(constant), kind) not in signatures:
            signatures[id(constant), kind] = _signature(_comparable(weight, constant.values))
        return signatures[id(constant), kind]

    result: list[tuple[ExpectedWeight, StoredWeight | None]] = []
    claimed: set[int] = set()
    for weight in weights:
        expected, same_size = _expected_signature(weight), by_size[weight.values.size]
        found = [constant for constant in same_size if _same_values(signature(constant, weight), expected)]
        # of equal constants the one that computes counts: a copy in floating point is what a runtime would use
        best = min(found, key=lambda c: (c.on_grid, c.input_quantized is not False), default=None)
        claimed.update(id(constant) for constant in found)
        result.append((weight, best))
    missing = [index for index, (_, constant) in enumerate(result) if constant is None]
    for index in missing:
        weight = result[index][0]
        expected = _expected_signature(weight)
        left = {
            float(np.abs(signature(constant, weight) - expected).sum()): constant
            for constant in by_size[weight.values.size]
            if id(constant) not in claimed
        }
        if left:
            nearest = left[min(left)]
            claimed.add(id(nearest))
            result[index] = weight, nearest
    return result


def holds_the_values(stored: StoredWeight, weight: ExpectedWeight) -> bool:
    """Return whether a constant holds the values of a weight, in any order of axes."""
    expected = weight.values
    if stored.values.dtype.kind in "fV" and stored.values.dtype.itemsize < 4:  # of a layer that computes in 16 bits
        expected = expected.astype(stored.values.dtype).astype(np.float32)
    return _same_values(_signature(_comparable(weight, stored.values)), _signature(_comparable(weight, expected)))


def _expected_signature(weight: ExpectedWeight) -> np.ndarray:
    """Return the signature of what counts of a weight."""
    return _signature(_comparable(weight, weight.values))


def _comparable(weight: ExpectedWeight, values: np.ndarray) -> np.ndarray:
    """Return what counts of values: of a binary weight all but the scale, of which a runtime may keep a part elsewhere, and of
    one that is only sparse the zeros, since converters multiply what follows into the rest.
    """
    if weight.bits == 32:
        return (values != 0).astype(np.float32)
    return values / max(float(np.abs(values).max()), 1e-30) if weight.bits == 1 else values


def _signature(values: np.ndarray) -> np.ndarray:
    """Return numbers that are the same for any layout of an array: its values in order, thinned out to a thousand, and their mean.

    Of a large array they are moments, because it takes long to put it in order.
    """
    if values.size > LARGE:
        flat = values.reshape(-1).astype(np.float64)
        moments = [flat.min(), flat.max(), flat.mean(), np.abs(flat).mean(), np.sqrt((flat**2).mean())]
        return np.array(moments, np.float32)
    ordered = np.sort(values.reshape(-1).astype(np.float32))
    thinned = ordered[np.linspace(0, ordered.size - 1, min(ordered.size, 1000)).astype(int)]
    return np.append(thinned, ordered.astype(np.float64).mean()).astype(np.float32)


def _same_values(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two signatures agree up to rounding of the greatest magnitude."""
    return bool(np.abs(one - other).max() <= 2e-5 * max(float(np.abs(other).max()), 1e-30))
