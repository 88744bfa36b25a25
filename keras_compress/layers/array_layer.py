"""ArrayLayer: what layers that are made from an array have in common, its type and how it is written into a file.

Configurations in files hold lists of numbers and strings. A snapshot of a model takes the array itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras

__all__ = ["ArrayLayer"]


class ArrayLayer(keras.layers.Layer):
    """A layer that is made from an array of numbers, booleans or strings.

    Args:
        value: an array, or nested lists. Strings are bytes, or text in UTF-8; complex numbers in lists are pairs.
        value_dtype: the type, as ``"int32"``. Default: that of the array.
    """

    def __init__(self, value: Any, value_dtype: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._array = _array(value, value_dtype and tf.as_dtype(value_dtype))
        found = tf.as_dtype(self._array.dtype)
        self.value_dtype = ((value_dtype and tf.as_dtype(value_dtype)) or found).name
        self.supports_masking = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return no mask: that of the input says nothing about the array."""

    def description(self) -> dict[str, Any]:
        """Return what Keras' serialization says of the layer, with the array as it is."""
        cls = type(self)
        registered = keras.saving.get_registered_name(cls)
        config = {**super().get_config(), "value": self._array, "value_dtype": self.value_dtype}
        return {"module": cls.__module__, "class_name": cls.__name__, "config": config, "registered_name": registered}

    def get_config(self) -> dict[str, Any]:
        return {**self.description()["config"], "value": _lists(self._array)}


def _array(value: Any, dtype: tf.DType | None) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind in "SU" and not isinstance(value, np.ndarray):
        array = np.array(value, object)  # NumPy's own strings lose zeros at their end
    if array.dtype.kind in "OSU":
        encoded = [text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text for text in array.flat]
        return np.array(encoded, object).reshape(array.shape)
    if dtype is not None and dtype.is_complex and array.dtype.kind != "c":
        array = array[..., 0] + 1j * array[..., 1]
    return array if dtype is None else array.astype(dtype.as_numpy_dtype)


def _lists(array: np.ndarray) -> Any:
    """Return nested lists of what JSON holds."""
    if array.dtype.kind == "O":
        decoded = [text.decode("utf-8", "surrogateescape") for text in array.flat]
        return np.array(decoded, object).reshape(array.shape).tolist()
    return np.stack([array.real, array.imag], -1).tolist() if array.dtype.kind == "c" else array.tolist()
