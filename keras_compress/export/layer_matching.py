"""Matches: which tensor of a file is the output of a layer, by its values in any order of axes, else by the name of the layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np

from keras_compress.export.result_comparison import signal_to_error
from keras_compress.export.value_grid import step_of_grid

__all__ = ["CLEAR", "SAME_STEP", "Match", "matched"]

#: From what ratio of signal to error on, in dB, a tensor is taken for the output of a layer by its values alone.
CLEAR = 25.0
#: From what ratio on, in dB, a tensor is, that is the nearest one and has the name of the layer.
LIKE = 10.0
#: By what share the steps of a quantizer may be wider or finer than the model's.
SAME_STEP = 0.02
#: How many tensors are looked at with all values; they are those that are nearest with some values of one sample.
TRIED, VALUES = 6, 4000


@dataclass(frozen=True)
class Match:
    """A tensor of a file that is the output of a call of a layer.

    Attributes:
        layer: path of the layer, with the number of the call behind ``#`` where it is called several times.
        expected: what the layer returns.
        tensor: name of the tensor.
        shape: of the tensor in the file.
        received: the tensor in the shape and the order of axes of the layer.
        sqnr: its ratio of signal to error in dB.
        channels_first: whether the file has the last axis of the layer in the place of the second one.
        is_named: whether the tensor that is nearest has the name of the layer, too, or is on a grid as a quantizer's.
        step: of a quantizer: step of its grid in the file over that in the model, as the values show them. 1 where they show none.
    """

    layer: str
    expected: np.ndarray
    tensor: str
    shape: tuple[int, ...]
    received: np.ndarray
    sqnr: float
    channels_first: bool
    is_named: bool = False
    step: float = 1.0

    @property
    def path(self) -> str:
        """Path of the layer."""
        return self.layer.partition("#")[0]

    @property
    def is_clear(self) -> bool:
        """Whether the values alone say that it is this tensor, or its name as well."""
        return self.is_named or bool(self.sqnr >= CLEAR)

    @property
    def nearness(self) -> float:
        """The ratio of signal to error in dB, minus infinity where it is none."""
        return float(np.nan_to_num(self.sqnr, nan=-np.inf))

    def of(self, array: np.ndarray) -> Match:
        """Return the same match with other values of the tensor."""
        received = self.arranged(array)
        return replace(self, received=received, sqnr=signal_to_error(self.expected, received))

    def arranged(self, array: np.ndarray) -> np.ndarray:
        """Return an array in the shape of the tensor in the shape and the order of axes of the layer."""
        if not self.channels_first:
            return array.reshape(self.expected.shape)
        return np.moveaxis(array.reshape(np.moveaxis(self.expected, -1, 1).shape), 1, -1)

    def as_in_file(self) -> np.ndarray:
        """Return what the layer returns as the file has it."""
        moved = np.moveaxis(self.expected, -1, 1) if self.channels_first else self.expected
        return np.ascontiguousarray(moved.reshape(self.shape))


_NEARNESS = attrgetter("nearness")


def matched(
    layer: str, expected: np.ndarray, inside: Sequence[tuple[str, np.ndarray]], levels: int | None = None
) -> Match | None:
    """Return the tensor that is the output of a layer, None if there is none.

    Args:
        layer: path of the layer, with the number of the call behind ``#``.
        expected: what it returns.
        inside: the tensors of the file by name.
        levels: of the grid that the layer maps to, if it is a quantizer with one grid.
    """
    forms = [form for name, array in inside if array.size == expected.size for form in _forms(name, array, expected)]
    if not forms:
        return None
    forms.sort(key=lambda form: _nearness(expected[:1], form.received[:1]), reverse=True)
    if levels and (found := _on_grid(layer, expected, forms[:TRIED], levels)) is not None:
        return found
    best = max((_as_match(layer, expected, form) for form in forms[:TRIED]), key=_NEARNESS)
    if best.is_clear:
        return best
    own = re.compile(rf"(^|[/;]){re.escape(layer.partition('#')[0].rpartition('/')[2])}([/;:_]|$)")
    named = [_as_match(layer, expected, form) for form in forms if own.search(form.tensor)]
    if not named:
        return None
    nearest = max(named, key=_NEARNESS)
    return replace(nearest, is_named=nearest.nearness >= max(best.nearness, LIKE))


def _on_grid(layer: str, expected: np.ndarray, forms: Sequence[_Form], levels: int) -> Match | None:
    """Return the tensor behind a quantizer, on the grid of the model if there is one, else on another; None if none is on a grid.

    The file has the values in front of the quantizer, too, and a runtime may have them nearer to the model's than those behind it.
    """
    own = step_of_grid(expected, levels)
    if own is None:
        return None
    found = []
    for form in forms:
        step = step_of_grid(form.received, levels)
        if step is not None and _nearness(expected, form.received) >= LIKE:
            ratio = step / own
            found.append(replace(_as_match(layer, expected, form), is_named=True, step=ratio))
    right = [match for match in found if abs(match.step - 1) <= SAME_STEP]
    return max(right or found, key=_NEARNESS, default=None)


@dataclass(frozen=True)
class _Form:
    """A tensor in one of the orders of axes that it may have."""

    tensor: str
    shape: tuple[int, ...]
    received: np.ndarray
    channels_first: bool


def _forms(name: str, array: np.ndarray, expected: np.ndarray) -> list[_Form]:
    forms = [_Form(name, array.shape, array.reshape(expected.shape), False)]
    if expected.ndim > 2:
        moved = np.moveaxis(expected, -1, 1).shape
        forms.append(_Form(name, array.shape, np.moveaxis(array.reshape(moved), 1, -1), True))
    return forms


def _as_match(layer: str, expected: np.ndarray, form: _Form) -> Match:
    ratio = signal_to_error(expected, form.received)
    return Match(layer, expected, form.tensor, form.shape, form.received, ratio, form.channels_first)


def _nearness(expected: np.ndarray, received: np.ndarray) -> float:
    """Return the ratio of signal to error of some of the values."""
    step = max(expected.size // VALUES, 1)
    return float(np.nan_to_num(signal_to_error(expected.ravel()[::step], received.ravel()[::step]), nan=-np.inf))
