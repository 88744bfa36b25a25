"""probed: the tensors inside of a file, read in ways that do not change what the runtime computes.

A runtime makes one operation of several, and a tensor that is asked for must not disappear in one. So a file may compute
something else, or not compile, where it is asked for a tensor: what it returns at its end is compared with what it returns
without. Where they part, the tensor is read from a file that ends with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

__all__ = ["SAME", "Probes", "agree", "probed"]

#: Below this ratio of signal to error, in dB, outputs with and without probes part. Roundings that fall to the other side stay above.
SAME = 30.0

#: The outputs of a file, and the tensors that were asked for, by name.
Probes = tuple[Sequence[np.ndarray], Mapping[str, np.ndarray]]


def probed(
    names: Sequence[str],
    outputs: Sequence[np.ndarray],
    beside: Callable[[Sequence[str]], Probes],
    alone: Callable[[str], np.ndarray],
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the values of tensors by name, and the names of those that were read from a file cut there.

    Args:
        names: of the tensors.
        outputs: of the file as it is.
        beside: returns the outputs of the file that is asked for some tensors too, and these. May raise an error.
        alone: returns a tensor of the file that ends with it. May raise an error; such a tensor is left out.

    Example:
        >>> end = np.float32([1.0, 2.0])
        >>> def beside(names):
        ...     return [end + ("b" in names)], dict.fromkeys(names, end)
        >>> values, cut = probed("ab", [end], beside, lambda name: end)
        >>> sorted(values), cut
        (['a', 'b'], ['b'])
    """
    if not names:
        return {}, []
    try:
        found, values = beside(names)
        if agree(outputs, found):
            return dict(values), []
    except Exception:  # of whatever a runtime raises
        pass
    if len(names) > 1:
        half = len(names) // 2
        (one, first), (other, second) = (probed(part, outputs, beside, alone) for part in (names[:half], names[half:]))
        return {**one, **other}, [*first, *second]
    try:
        return {names[0]: alone(names[0])}, [names[0]]
    except Exception:  # of whatever a runtime raises
        return {}, []


def agree(outputs: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    """Return whether a file computes the same twice, but for rounding."""
    return all(_same(one, other) for one, other in zip(outputs, others, strict=True))


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return bool(np.mean(one == other) > 0.9) if one.size else True
    one, other = one.astype(np.float64), other.astype(np.float64)
    finite = np.isfinite(one)
    if not np.array_equal(finite, np.isfinite(other)):
        return False
    signal, error = np.sum(one[finite] ** 2), np.sum((one[finite] - other[finite]) ** 2)
    return bool(error <= signal * 10 ** (-SAME / 10))
