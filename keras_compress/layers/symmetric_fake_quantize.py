"""SymmetricFakeQuantize: a quantizer with one trainable scale."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_compress._keras import register
from keras_compress.layers.fake_quantize import UNCALIBRATED_RANGE, FakeQuantize, without_zeros
from keras_compress.layers.fused_relu import before_relu
from keras_compress.layers.range_following import grown
from keras_compress.layers.settings_check import checked_flag, checked_number
from keras_compress.numerics import fake_quantize_symmetric, symmetric_bounds

__all__ = ["SymmetricFakeQuantize"]


@register
class SymmetricFakeQuantize(FakeQuantize):
    """Quantizer with one trainable ``scale``: levels from ``scale * q_min / q_max`` to ``scale``.

    ``q_min`` and ``q_max`` are those of :func:`~keras_compress.numerics.symmetric_bounds`. Whether negative values are
    represented is a number, not a part of the graph: the variable ``signed`` (1 or 0) is set from the data, saved and
    restored with the ranges, and not trained. The magnitude of ``scale`` counts, so that a step of the optimizer cannot
    make the range negative.

    Args:
        signed: True or False forces it; None (default) starts as signed and lets :meth:`set_range` decide from the
            data.
        max_value: the largest magnitude that can arrive, as 6 behind ReLU6: the range never goes beyond. Default None.
        num_bits, narrow_range, channel_axes, half_range: see :class:`FakeQuantize`.

    Example:
        >>> quantizer = SymmetricFakeQuantize(num_bits=8, channel_axes=(-1,), narrow_range=True)
        >>> quantizer(tf.ones((3, 3, 1, 4))).shape
        TensorShape([3, 3, 1, 4])

    Source: Kozlov et al. 2020, arXiv:2002.08679, section 4.1; Jain et al. 2019, arXiv:1903.08066.
    """

    fixed = FakeQuantize.fixed  # the range below is all that differs
    symmetric = True

    def __init__(self, num_bits: int = 8, *, signed: bool | None = None, max_value: float | None = None, **kwargs):
        super().__init__(num_bits, **kwargs)
        self.force_signed = None if signed is None else checked_flag(signed, "signed", self.name)
        self.max_value = None if max_value is None else checked_number(max_value, "max_value", self.name)

    def build(self, input_shape):
        super().build(input_shape)
        low, high = self.fixed_range or (-UNCALIBRATED_RANGE, UNCALIBRATED_RANGE)
        self.scale = self.add_end("scale", high)
        signed = self.force_signed is not False and low < 0
        signs = "ones" if signed else "zeros"
        self.signed = self.add_weight(name="signed", shape=(), initializer=signs, trainable=False)

    def range(self):
        high = tf.abs(self.scale)
        if self.max_value is not None:
            high = tf.where(
                high < self.max_value, high, self.max_value
            )  # no gradient at the bound, as behind an activation
        q_min, q_max = symmetric_bounds(self.grid_bits, signed=True, narrow_range=self.narrow_range)
        return high * (self.signed * (q_min / q_max)), high

    def quantized(self, values):
        if self.narrow_range and self.per_channel and self.force_signed is not False:
            return fake_quantize_symmetric(values, tf.abs(self.scale), self.grid_bits)
        return super().quantized(values)

    def skip_relu(self, inputs):
        return before_relu(inputs, self.max_value) if self.force_signed is False else inputs

    def follow(self, values):
        low, high = self.range()
        beyond = (values > high) | ((values < low) & (self.signed > 0))
        if self.max_value is not None:
            beyond &= high < self.max_value
        self.scale.assign_add(tf.sign(self.scale) * grown(high, beyond, self.grid_bits))

    def range_for(self, low, high):
        scale, signed = self._measured(low, high)
        q_min, q_max = symmetric_bounds(self.grid_bits, signed=True, narrow_range=self.narrow_range)
        return scale * np.float32(signed * (q_min / q_max)), scale

    def set_range(self, low, high):
        scale, signed = self._measured(low, high)
        self.scale.assign(scale)
        self.signed.assign(float(signed))

    def _measured(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, bool]:
        """Return the scale, and whether negative values are represented."""
        low, high = self.extremes(low, high)
        decided_by_data = self.force_signed is None and not self.narrow_range
        signed = bool(np.any(low < 0)) if decided_by_data else self.force_signed is not False
        scale = without_zeros(np.maximum(np.abs(low), np.abs(high)))
        return (scale if self.max_value is None else np.minimum(scale, np.float32(self.max_value))), signed

    def get_config(self) -> dict:
        return {**super().get_config(), "signed": self.force_signed, "max_value": self.max_value}
