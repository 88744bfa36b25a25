"""new_quantizer: the quantizer that settings and the bounds of the values make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import Any

import numpy as np

from keras_compress.algorithms.quantizer_settings import QuantizerSettings
from keras_compress.layers import AsymmetricFakeQuantize, FakeQuantize, SymmetricFakeQuantize

__all__ = ["count_asymmetric", "new_quantizer"]


def new_quantizer(
    name: str, settings: QuantizerSettings, bounds: Sequence[tuple[float, float]] = (), **options: Any
) -> FakeQuantize:
    """Return the quantizer of tensors whose values are within ``bounds``, one pair for each."""
    bits = settings.bits or 8
    if settings.mode == "asymmetric":
        return AsymmetricFakeQuantize(bits, name=name, **options)
    never_negative = bool(bounds) and all(low >= 0 for low, _ in bounds)
    signed = False if settings.signed is None and never_negative else settings.signed
    largest = max((max(-low, high) for low, high in bounds), default=inf)
    return SymmetricFakeQuantize(
        bits, name=name, signed=signed, max_value=None if largest == inf else largest, **options
    )


def count_asymmetric(quantizers: Iterable[FakeQuantize]) -> int:
    """Return how many quantizers have a zero point that is neither the lowest level nor the middle one."""
    return sum(not np.isin(op.integer_range()[1], (0, 2 ** (op.grid_bits - 1))).all() for op in quantizers)
