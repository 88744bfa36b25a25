"""PointwiseDense: a dense layer that computes as a convolution of one pixel.

TensorFlow Lite's converter cannot transpose weights that have a scale per channel, which a matrix product would need;
the kernel of a convolution stays as it is. Only exports use it.
"""

from __future__ import annotations

import tensorflow as tf

from keras_compress._keras import keras, register

__all__ = ["PointwiseDense"]


@register
class PointwiseDense(keras.layers.Layer):
    """``y = activation(x @ kernel + bias)`` on the last axis, with a kernel of shape ``(1, 1, inputs, units)``.

    Args:
        units: size of the last axis of the output.
        use_bias: whether there is a bias of shape ``(units,)``. Default True.
        activation: as for ``Dense``. Default None: linear.

    Example:
        >>> PointwiseDense(3)(tf.ones((2, 5))).shape
        TensorShape([2, 3])
    """

    def __init__(self, units: int, use_bias: bool = True, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.use_bias = use_bias
        self.activation = keras.activations.get(activation)
        self.supports_masking = True

    def build(self, input_shape):
        inputs = tf.TensorShape(input_shape)[-1]
        self.kernel = self.add_weight(name="kernel", shape=(1, 1, inputs, self.units))
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros") if self.use_bias else None
        super().build(input_shape)

    def call(self, inputs):
        shape = inputs.shape
        pixels = tf.reshape(inputs, [-1, 1, 1, self.kernel.shape[2]])  # whatever is known of the input
        outputs = tf.nn.conv2d(pixels, self.kernel, 1, "VALID")
        if self.bias is not None:
            outputs = tf.nn.bias_add(outputs, self.bias)
        sizes = [-1 if size is None else size for size in shape[:-1]]
        if sizes.count(-1) > 1:
            return self.activation(tf.reshape(outputs, tf.concat([tf.shape(inputs)[:-1], [self.units]], 0)))
        return self.activation(tf.reshape(outputs, [*sizes, self.units]))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "use_bias": self.use_bias,
            "activation": keras.activations.serialize(self.activation),
        }
