"""FixedThreshold: a binary activation whose numbers no longer change, written with TensorFlow's own operations.

Exports use it in the place of the trained :class:`~keras_compress.layers.binarize.BinaryActivation`; it runs anywhere,
and a runtime that has one-bit convolutions can recognize it.
"""

from __future__ import annotations

import tensorflow as tf

from keras_compress._keras import register
from keras_compress.layers.weight_op import Stage, WeightOp

__all__ = ["FixedThreshold"]


@register
class FixedThreshold(WeightOp):
    """Maps values above a threshold to ``scale`` and others to 0.

    Forward: ``y = scale * 1[x > thresholds]``.

    Attributes:
        thresholds: float32 variable of shape ``(channels,)``, for the last axis.
        scale: float32 scalar variable.

    Example:
        >>> layer = FixedThreshold()
        >>> layer(tf.constant([[-1.0, 0.5]])).numpy().tolist()
        [[0.0, 1.0]]
    """

    stage = Stage.BINARIZE

    def build(self, input_shape):
        channels = tf.TensorShape(input_shape)[-1]
        self.thresholds = self.add_weight(name="thresholds", shape=(channels,), initializer="zeros", trainable=False)
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones", trainable=False)
        super().build(input_shape)

    def call(self, inputs):
        above = tf.cast(inputs, tf.float32) > self.thresholds
        return tf.cast(tf.cast(above, tf.float32) * self.scale, inputs.dtype)
