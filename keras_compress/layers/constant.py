"""Constant: a tensor that does not depend on the input, as a node of the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras, register

__all__ = ["Constant"]


@register
class Constant(keras.layers.Layer):
    """Return the same tensor whatever the input is.

    Keras writes a constant among the arguments of a layer as a list of numbers and cannot read it back. As the output of
    a layer it is an argument like any other.

    Args:
        value: the tensor, as an array or as nested lists.
        value_dtype: its type. A floating point value is given in the type that the layer computes in.

    Example:
        >>> layer = Constant([[1.0, 2.0]], "float32")
        >>> layer(keras.Input((4,))).shape
        TensorShape([1, 2])
    """

    def __init__(self, value: Any, value_dtype: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.value = np.asarray(value)
        self.value_dtype = value_dtype
        self.supports_masking = True

    def call(self, inputs: Any) -> tf.Tensor:
        value = tf.constant(self.value, self.value_dtype)
        return tf.cast(value, self.compute_dtype) if value.dtype.is_floating else value

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return no mask: that of the input says nothing about the constant."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "value": self.value.tolist(), "value_dtype": self.value_dtype}
