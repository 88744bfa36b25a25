"""Constant: a tensor that does not depend on the input, as a node of the graph."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_compress._keras import register
from keras_compress.layers.array_layer import ArrayLayer

__all__ = ["Constant"]


@register
class Constant(ArrayLayer):
    """Return the same tensor whatever the input is.

    Keras writes a constant among the arguments of a layer as a list of numbers and cannot read it back. As the output of
    a layer it is an argument like any other.

    Args:
        value: the tensor, as an array or as nested lists.
        value_dtype: its type. A floating point value is given in the type that the layer computes in. Default: that of
            the array.

    Example:
        >>> from keras_compress._keras import keras
        >>> layer = Constant([[1.0, 2.0]], "float32")
        >>> layer(keras.Input((4,))).shape
        TensorShape([1, 2])
    """

    def call(self, inputs: Any) -> tf.Tensor:
        value = tf.constant(self._array, self.value_dtype)
        return tf.cast(value, self.compute_dtype) if value.dtype.is_floating else value
