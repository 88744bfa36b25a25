"""AsymmetricFakeQuantize: a quantizer with two trainable ends, and a zero point between them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_compress._keras import register
from keras_compress.layers.fake_quantize import UNCALIBRATED_RANGE, FakeQuantize, without_zeros
from keras_compress.layers.range_following import grown
from keras_compress.numerics import tune_range

__all__ = ["AsymmetricFakeQuantize"]


@register
class AsymmetricFakeQuantize(FakeQuantize):
    """Quantizer with a trainable range ``[range_min, range_max]`` that is tuned so that zero is exact.

    The range in use is :func:`~keras_compress.numerics.tune_range` of the two variables.

    Args:
        num_bits, narrow_range, channel_axes, half_range: see :class:`FakeQuantize`.

    Example:
        >>> quantizer = AsymmetricFakeQuantize(num_bits=8)
        >>> float(quantizer(tf.zeros((1, 4)))[0, 0])
        0.0

    Source: Kozlov et al. 2020, arXiv:2002.08679, section 4.1; Choi et al. 2018, arXiv:1805.06085.
    """

    fixed = FakeQuantize.fixed  # the range below is all that differs

    def build(self, input_shape):
        super().build(input_shape)
        low, high = self.fixed_range or (-UNCALIBRATED_RANGE, UNCALIBRATED_RANGE)
        self.range_min, self.range_max = self.add_end("range_min", low), self.add_end("range_max", high)

    def range(self):
        low = tf.minimum(self.range_min, self.range_max)
        high = tf.maximum(self.range_min, self.range_max)
        return tune_range(low, high, self.grid_bits)

    def follow(self, values):
        low, high = self.range()
        width = high - low
        self.range_min.assign_sub(grown(width, values < low, self.grid_bits))
        self.range_max.assign_add(grown(width, values > high, self.grid_bits))

    def range_for(self, low, high):
        low, high = tune_range(*self._measured(low, high), self.grid_bits)
        return low.numpy(), high.numpy()

    def set_range(self, low, high):
        low, high = self._measured(low, high)
        self.range_min.assign(low)
        self.range_max.assign(high)

    def _measured(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the extremes with zero between them and a width above zero."""
        low, high = self.extremes(np.minimum(low, 0.0), np.maximum(high, 0.0))
        width = high - low
        return low, np.where(width > 0, high, without_zeros(width))
