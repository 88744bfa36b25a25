"""Parameter: a variable that the input does not change, as a node of the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras, register

__all__ = ["Parameter"]


@register
class Parameter(keras.layers.Layer):
    """Return a variable, whatever the input is, as a learned token or a learned position.

    A variable among the arguments of a call belongs to no layer of a Functional model, so Keras neither trains nor saves
    it. Here it does.

    Args:
        value: its first value, as an array or as nested lists.

    Example:
        >>> layer = Parameter([[1.0, 2.0]])
        >>> layer(tf.zeros((3, 4))).shape, len(layer.trainable_variables)
        (TensorShape([1, 2]), 1)
    """

    def __init__(self, value: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self._initial = np.asarray(value)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        first = keras.initializers.Constant(self._initial.tolist())
        self.value = self.add_weight("value", self._initial.shape, initializer=first)
        super().build(input_shape)

    def call(self, inputs: Any) -> tf.Tensor:
        return tf.convert_to_tensor(self.value)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return no mask: that of the input says nothing about the variable."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "value": self._initial.tolist()}
