"""BinaryWeight and BinaryActivation: two values instead of floating point numbers.

Both pass everything through until they are switched on; when that happens is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras, register
from keras_compress.layers.calibrated_op import CalibratedOp
from keras_compress.layers.fixed_threshold import FixedThreshold
from keras_compress.layers.settings_check import checked_axes, positive_axes
from keras_compress.layers.weight_op import IntegerWeight, Stage, WeightOp
from keras_compress.numerics import binarize, binary_scale, binary_threshold

__all__ = ["BinaryActivation", "BinaryWeight"]


@register
class BinaryWeight(WeightOp):
    """Maps a weight to two values once it is active.

    Forward: ``y = mean(|w|) * sign(w)``, the mean over all axes but ``channel_axes``; 0 counts as negative. Gradient:
        see
    :func:`~keras_compress.numerics.binarize`.

    Args:
        channel_axes: axes of the output channels, each with its own scale, as in XNOR-Net; None (default) for one
            scale, as in DoReFa.

    Attributes:
        active: bool scalar variable.

    Example:
        >>> op = BinaryWeight(channel_axes=(-1,))
        >>> op.build((2, 1))
        >>> op.active.assign(True).numpy().item()
        True
        >>> op(tf.constant([[1.0], [-3.0]])).numpy().tolist()
        [[2.0], [-2.0]]

    Source: Rastegari et al. 2016, arXiv:1603.05279; Zhou et al. 2016, arXiv:1606.06160.
    """

    stage = Stage.BINARIZE

    def __init__(self, channel_axes: tuple[int, ...] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.channel_axes = checked_axes(channel_axes, self.name)

    def build(self, input_shape):
        rank = len(tf.TensorShape(input_shape))
        channels = positive_axes(self.channel_axes or (), rank, self.name)
        self.axes = [axis for axis in range(rank) if axis not in channels]
        self.active = self.add_weight(name="active", shape=(), dtype="bool", initializer="zeros", trainable=False)
        super().build(input_shape)

    def call(self, inputs):
        binary = binarize(tf.cast(inputs, tf.float32), self.axes)
        return tf.where(self.active, tf.cast(binary, inputs.dtype), inputs)

    @property
    def value_bits(self) -> int:
        return 1 if self.active.numpy() else 32

    def to_integer(self, weight: np.ndarray) -> IntegerWeight | None:
        if not self.active.numpy():
            return None
        scale = binary_scale(tf.constant(weight), self.axes).numpy()
        values = np.where(weight > 0, 1, -1).astype(np.int8)
        return IntegerWeight(values, scale, np.zeros(scale.shape, np.int32), num_bits=1)

    def get_config(self) -> dict:
        return {**super().get_config(), "channel_axes": self.channel_axes}


@register
class BinaryActivation(CalibratedOp):
    """Maps values above ``scale * thresholds`` to ``scale`` and others to 0 once it is active.

    Forward and gradients: see :func:`~keras_compress.numerics.binary_threshold`. Zero is one of the two values, so zero
    padding is exact. Scale and thresholds are trained; the scale is stored as its logarithm and the thresholds as
    logits, so that they stay above 0 and within (0, 1).

    Attributes:
        active: bool scalar variable.
        log_scale: trainable float32 scalar.
        threshold_logits: trainable float32 variable of shape ``(channels,)``, for the last axis.

    Example:
        >>> op = BinaryActivation()
        >>> op.build((None, 2))
        >>> op.active.assign(True).numpy().item()
        True
        >>> op(tf.constant([[0.2, 0.7]])).numpy().tolist()
        [[0.0, 1.0]]

    Source: Kozlov et al. 2020, arXiv:2002.08679, section 4.2.
    """

    stage = Stage.BINARIZE

    def build(self, input_shape):
        channels = tf.TensorShape(input_shape)[-1]
        if channels is None:
            raise ValueError(
                f"'{self.name}' has a threshold per channel and needs their number. Received: shape={input_shape}. "
                "Give the model's Input a fixed size there."
            )
        zeros = keras.initializers.Zeros()
        self.active = self.add_weight(name="active", shape=(), dtype="bool", initializer="zeros", trainable=False)
        self.log_scale = self.add_weight(name="log_scale", shape=(), initializer=zeros)
        self.threshold_logits = self.add_weight(name="threshold_logits", shape=(channels,), initializer=zeros)
        super().build(input_shape)

    @tf.autograph.experimental.do_not_convert
    def apply(self, inputs: tf.Tensor, training: bool | tf.Tensor | None) -> tf.Tensor:
        binary = binary_threshold(tf.cast(inputs, tf.float32), *self.levels())
        return tf.where(self.active, tf.cast(binary, inputs.dtype), inputs)

    def levels(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the scale, a scalar, and the thresholds in units of it, one per channel."""
        return tf.exp(self.log_scale), tf.sigmoid(self.threshold_logits)

    def fixed(self, num_bits: int | None = None) -> tuple[keras.layers.Layer, Mapping[str, np.ndarray]]:
        """Return thresholds that are no longer trained, and their numbers; nothing at all if it is not active."""
        if not self.active.numpy():
            return keras.layers.Activation("linear", name=self.name), {}
        scale, thresholds = self.levels()
        return FixedThreshold(name=self.name), {"thresholds": (scale * thresholds).numpy(), "scale": scale.numpy()}

    def set_range(self, low: np.ndarray, high: np.ndarray) -> None:
        """Start from a measured scale, ``high``."""
        if high > 0:
            self.log_scale.assign(np.log(high))
