"""FixedFakeQuantize: a quantizer whose range no longer changes, written with TensorFlow's own fake-quantization ops.

Exports use it in the place of the trained quantizers, because runtimes recognize these ops and turn them into integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import register
from keras_compress.layers.settings_check import checked_axes, checked_flag, checked_whole, positive_axes
from keras_compress.layers.weight_op import Stage, WeightOp
from keras_compress.numerics import number_of_steps

__all__ = ["FixedFakeQuantize", "fixed_scale"]


@register
class FixedFakeQuantize(WeightOp):
    """Fake quantization over a range held in variables that are not trained.

    Forward: that of :class:`~keras_compress.layers.fake_quantize.FakeQuantize`, by TensorFlow's
    ``FakeQuantWithMinMaxVars``.

    Args:
        num_bits: bits of the grid, 2 to 8.
        narrow_range: leave out the lowest level.
        channel_axes: axes with a range for each index; None (default) for one range. TensorFlow's operation takes the
            last axis only; for other axes the tensor is transposed or reshaped around it.

    Attributes:
        low, high: float32 variables of shape ``()`` or ``(channels,)``.

    Example:
        >>> quantizer = FixedFakeQuantize(8, narrow_range=False)
        >>> quantizer.build((2,))
        >>> quantizer.high.assign(255.0).numpy().item()
        255.0
        >>> quantizer(tf.constant([3.4, 300.0])).numpy().tolist()
        [3.0, 255.0]
    """

    stage = Stage.QUANTIZE

    def __init__(self, num_bits: int, narrow_range: bool, channel_axes: Sequence[int] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.num_bits = checked_whole(num_bits, "num_bits", self.name, 2, 16)
        self.narrow_range = checked_flag(narrow_range, "narrow_range", self.name)
        self.channel_axes = checked_axes(channel_axes, self.name)

    def build(self, input_shape):
        if self.channel_axes is not None:
            positive_axes(self.channel_axes, len(tf.TensorShape(input_shape)), self.name)
        sizes = () if self.channel_axes is None else (_product(input_shape, self.channel_axes),)
        self.low = self.add_weight(name="low", shape=sizes, initializer="zeros", trainable=False)
        self.high = self.add_weight(name="high", shape=sizes, initializer="ones", trainable=False)
        super().build(input_shape)

    def call(self, inputs):
        values = tf.cast(inputs, tf.float32)
        if self.channel_axes is None:
            out = tf.quantization.fake_quant_with_min_max_vars(
                values, self.low, self.high, self.num_bits, self.narrow_range
            )
        else:
            out = self._per_channel(values, self.channel_axes)
        return tf.cast(out, inputs.dtype)

    def _per_channel(self, values: tf.Tensor, channel_axes: tuple[int, ...]) -> tf.Tensor:
        rank = values.shape.rank
        axes = sorted(axis % rank for axis in channel_axes)
        axes = [axis for axis in axes if values.shape[axis] != 1] or axes[:1]
        order = [axis for axis in range(rank) if axis not in axes] + axes
        moved = values if order == list(range(rank)) else tf.transpose(values, order)
        shape = moved.shape if moved.shape.is_fully_defined() else tf.shape(moved)
        joined = moved if len(axes) == 1 else tf.reshape(moved, tf.concat([shape[: -len(axes)], self.low.shape], 0))
        out = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            joined, self.low, self.high, self.num_bits, self.narrow_range
        )
        out = out if len(axes) == 1 else tf.reshape(out, shape)
        return out if moved is values else tf.transpose(out, [order.index(axis) for axis in range(rank)])

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_bits": self.num_bits,
            "narrow_range": self.narrow_range,
            "channel_axes": self.channel_axes,
        }


def fixed_scale(settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the step of the grid of a quantizer that is written down, as float64; one for each channel it has a range for.

    Args:
        settings: what ``get_config`` of the quantizer returned.
        arrays: its variables ``low`` and ``high``.

    Example:
        >>> settings = FixedFakeQuantize(8, narrow_range=True).get_config()
        >>> float(fixed_scale(settings, {"low": np.float32(-127.0), "high": np.float32(127.0)}))
        1.0
    """
    steps = number_of_steps(settings["num_bits"], narrow_range=settings["narrow_range"])
    return (arrays["high"].astype(np.float64) - arrays["low"]) / steps


def _product(shape, axes: Sequence[int]) -> int:
    size = 1
    for axis in axes:
        size *= tf.TensorShape(shape).as_list()[axis]
    return size
