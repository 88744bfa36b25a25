"""Parameter: a variable that the input does not change, as a node of the graph."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_compress._keras import register
from keras_compress.layers.array_layer import ArrayLayer

__all__ = ["Parameter"]


@register
class Parameter(ArrayLayer):
    """Return a variable, whatever the input is, as a learned token or a learned position.

    A variable among the arguments of a call belongs to no layer of a Functional model, so Keras neither trains nor saves
    it. Here it does.

    Args:
        value: its first value, as an array or as nested lists.
        value_dtype: its type, if that is not floating point: a variable of floating point has the type that the layer
            keeps variables in. Default: that of the array.

    Example:
        >>> layer = Parameter([[1.0, 2.0]])
        >>> layer(tf.zeros((3, 4))).shape, len(layer.trainable_variables)
        (TensorShape([1, 2]), 1)
    """

    def build(self, input_shape: Any) -> None:
        dtype = tf.as_dtype(self.value_dtype)
        self.value = self.add_weight(
            "value",
            self._array.shape,
            dtype=None if dtype.is_floating else dtype,
            initializer=lambda shape, dtype=None, **_: tf.constant(self._array, dtype, shape),
            trainable=self.trainable and (dtype.is_floating or dtype.is_complex),
        )
        super().build(input_shape)

    def call(self, inputs: Any) -> tf.Tensor:
        return tf.convert_to_tensor(self.value)
