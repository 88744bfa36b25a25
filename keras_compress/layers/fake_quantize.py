"""FakeQuantize: the base of the quantizers with trainable ranges, for weights and for activations alike.

A layer maps a tensor of any shape to the levels of its integer grid. Used inside a
:class:`~keras_compress.layers.compressed_layer.CompressedLayer` it quantizes a weight; put into the graph of a model it
quantizes an activation. How a range is found from data is not decided here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.errors import short_repr
from keras_compress.layers.calibrated_op import CalibratedOp
from keras_compress.layers.fixed_fake_quantize import FixedFakeQuantize
from keras_compress.layers.range_following import some_samples
from keras_compress.layers.settings_check import (
    checked_axes,
    checked_flag,
    checked_range,
    is_whole,
    positive_axes,
)
from keras_compress.layers.weight_op import IntegerWeight, Stage
from keras_compress.layers.widened_grid import widened_grid
from keras_compress.numerics import fake_quantize, number_of_steps

__all__ = ["UNCALIBRATED_RANGE", "FakeQuantize", "without_zeros"]

#: Where an activation range stands before it was measured: wide enough for the output of ReLU6 and for normalized data.
UNCALIBRATED_RANGE = 6.0


class FakeQuantize(CalibratedOp):
    """Base of the quantizers: an integer grid of ``num_bits`` over a trainable range ``[low, high]``.

    Forward, with ``s = (high - low) / steps``: ``y = s * (clip(round((x - low) / s), 0, steps)) + low``, where ``low``
    is a multiple of ``s``, so that zero is on the grid. Gradient: 1 to ``x`` inside of the range and 0 outside; to the
    ends as in :func:`~keras_compress.numerics.fake_quantize`.

    Args:
        num_bits: bits of the grid, 2 to 8. Default 8.
        narrow_range: leave out the most negative level, as weights do. Default False.
        channel_axes: axes of the tensor along which every index has its own range, for example ``(-1,)``; None
            (default) for one range.
        half_range: use only the inner half of the levels, which protects CPUs without VNNI from overflow. Default
            False.
        fixed_range: ends of a range that is neither measured nor trained, zero between them; of a symmetric quantizer
            ``(0, high)`` or ``(-high, high)``. Default None.

    Raises:
        ValueError: ``num_bits`` or ``fixed_range`` is out of range.

    Source: Kozlov et al. 2020, arXiv:2002.08679, section 4.1; Jacob et al. 2018, arXiv:1712.05877.
    """

    stage = Stage.QUANTIZE
    symmetric: ClassVar[bool] = False

    def __init__(
        self,
        num_bits: int = 8,
        narrow_range: bool = False,
        channel_axes: Sequence[int] | None = None,
        half_range: bool = False,
        fixed_range: Sequence[float] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not is_whole(num_bits) or not 2 <= num_bits <= 8:
            raise ValueError(
                f"A quantizer takes 2 to 8 bits. Received: num_bits={short_repr(num_bits)} for '{self.name}'."
            )
        if half_range and num_bits < 3:
            raise ValueError(
                f"Half of a range takes 3 bits or more. Received: num_bits={num_bits}, half_range=True for '{self.name}'."
            )
        self.num_bits = int(num_bits)
        self.narrow_range = checked_flag(narrow_range, "narrow_range", self.name)
        self.channel_axes = checked_axes(channel_axes, self.name)
        self.half_range = checked_flag(half_range, "half_range", self.name)
        self.fixed_range = checked_range(fixed_range, "fixed_range", self.name, symmetric=self.symmetric)

    @property
    def grid_bits(self) -> int:
        """Bits of the grid that is really used: one less than ``num_bits`` with ``half_range``."""
        return self.num_bits - 1 if self.half_range else self.num_bits

    @property
    def value_bits(self) -> int:
        return self.num_bits

    @property
    def steps(self) -> int:
        """Number of steps of the grid: one less than it has levels."""
        return number_of_steps(self.grid_bits, narrow_range=self.narrow_range)

    @property
    def per_channel(self) -> bool:
        return self.channel_axes is not None

    def range_shape(self, shape) -> tuple[int, ...]:
        """Shape of the range variables for a tensor of ``shape``: ``()``, or ones but for the channel axes."""
        if self.channel_axes is None:
            return ()
        shape = tuple(tf.TensorShape(shape).as_list())
        axes = positive_axes(self.channel_axes, len(shape), self.name)
        if any(shape[axis] is None for axis in axes):
            raise ValueError(
                f"'{self.name}' needs a known size along its channel axes {sorted(axes)}. Received: shape={shape}. "
                "Give the model's Input a fixed size there, or quantize per tensor."
            )
        return tuple(size if axis in axes else 1 for axis, size in enumerate(shape))

    def build(self, input_shape):
        self.range_variable_shape = self.range_shape(input_shape)
        super().build(input_shape)

    def add_end(self, name: str, initial: float) -> tf.Variable:
        """Create a variable of the range, which is trained unless the range is fixed."""
        constant, trainable = keras.initializers.Constant(initial), self.fixed_range is None
        return self.add_weight(
            name=name,
            shape=self.range_variable_shape,
            initializer=constant,
            trainable=trainable,
            aggregation=tf.VariableAggregation.MEAN,  # of what replicas find in their parts of a batch, see :meth:`follow`
        )

    def extremes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return measured extremes, or those of the fixed range in their place."""
        fixed = self.fixed_range
        return (low, high) if fixed is None else (np.full_like(low, fixed[0]), np.full_like(high, fixed[1]))

    @tf.autograph.experimental.do_not_convert
    def apply(self, inputs: tf.Tensor, training: bool | tf.Tensor | None) -> tf.Tensor:
        values = tf.cast(self.skip_relu(inputs) if training is True else inputs, tf.float32)
        if training is True and self.trainable and self.fixed_range is None and not self.per_channel:
            self.follow(some_samples(values))
        return tf.cast(self.quantized(values), inputs.dtype)

    @abstractmethod
    def follow(self, values: tf.Tensor) -> None:
        """Widen the range, a single one, if too large a share of values lies beyond it."""

    def skip_relu(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return what may be quantized in place of ``inputs``, with the same result, to train faster: here nothing else."""
        return inputs

    def quantized(self, values: tf.Tensor) -> tf.Tensor:
        """Return a float32 tensor on the grid."""
        return fake_quantize(values, *self.range(), self.grid_bits, self.narrow_range)

    @abstractmethod
    def range(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the lowest and highest level, shaped as :meth:`range_shape`, differentiable."""

    @abstractmethod
    def range_for(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the :meth:`range` that ``set_range(low, high)`` would lead to, and change nothing.

        Args:
            low, high: extremes, one per range or several such in a row. Each counts on its own, but for what all ranges
                share: the sign, and the range in place of one that is all zero.

        Returns:
            The lowest and highest level as float32, shaped as ``low``.

        Example:
            >>> from keras_compress.layers import SymmetricFakeQuantize
            >>> low, high = SymmetricFakeQuantize(narrow_range=True).range_for(np.float32([-1.0, 0.0]), np.float32([0.5, 3.0]))
            >>> low.tolist(), high.tolist()
            ([-1.0, -3.0], [1.0, 3.0])
        """

    def integer_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(scale, zero_point)``: the grid is ``scale * (q - zero_point)`` for ``q`` from 0 upwards.

        Both are shaped as :meth:`range_shape`; scale is float32, zero_point int32.
        """
        low, high = (value.numpy() for value in self.range())
        scale = (high - low) / np.float32(self.steps)
        zero_point = np.round(np.divide(-low, scale, out=np.zeros_like(scale), where=scale > 0))
        return scale, zero_point.astype(np.int32)

    def to_integer(self, weight: np.ndarray) -> IntegerWeight:
        """Return ``weight`` on the grid, as int8 with zero point 0 where the grid is symmetric, else as uint8.

        Args:
            weight: float array of the shape the layer was built for.
        """
        scale, zero_point = self.integer_range()
        scaled = np.divide(weight, scale, out=np.zeros_like(weight, np.float32), where=scale > 0)
        values = np.clip(np.round(scaled) + zero_point, 0, self.steps).astype(np.int32)
        if self.narrow_range:
            return IntegerWeight((values - zero_point).astype(np.int8), scale, np.zeros_like(zero_point), self.num_bits)
        return IntegerWeight(values.astype(np.uint8), scale, zero_point, self.num_bits)

    def fixed(self, num_bits: int | None = None) -> tuple[keras.layers.Layer, Mapping[str, np.ndarray]]:
        """Return a quantizer with the step and the zero point of this one that is no longer trained, and its range."""
        bits = self.num_bits if num_bits is None else num_bits
        low, high = (value.numpy().reshape(-1) for value in self.range())
        if bits != self.grid_bits:
            scale, zero_point = (value.reshape(-1) for value in self.integer_range())
            low, high = widened_grid(scale, zero_point, bits, narrow_range=self.narrow_range)
        if not self.per_channel:
            low, high = low[0], high[0]
        layer = FixedFakeQuantize(bits, self.narrow_range, self.channel_axes, name=self.name)
        return layer, {"low": low, "high": high}

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_bits": self.num_bits,
            "narrow_range": self.narrow_range,
            "channel_axes": self.channel_axes,
            "half_range": self.half_range,
            **({} if self.fixed_range is None else {"fixed_range": self.fixed_range}),
        }


def without_zeros(scale: np.ndarray) -> np.ndarray:
    """Replace a scale of zero, that is of a tensor or channel that was all zero, by the largest of the others, or 1.

    Any scale represents zeros exactly; a scale of zero could never be trained away from zero.
    """
    scale = np.asarray(scale, np.float32)
    return np.where(scale > 0, scale, scale.max() if scale.max() > 0 else 1.0).astype(np.float32)
