"""Constant gives the same tensor for every input, in the type that the layer computes in, and can be saved."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import deserialize, keras, serialize
from keras_compress.layers import Constant


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "float16"])
def test_it_gives_its_value_and_survives_its_configuration(dtype):
    value = np.array([[0, 1], [1, 1]], dtype)
    layer = Constant(value, dtype, dtype=dtype if dtype.startswith("float") else None)
    again = deserialize(serialize(layer))
    for made in (layer, again):
        result = made(tf.zeros((3, 4)))
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, value)
    assert layer.variables == []


def test_a_mask_of_the_input_is_not_passed_on():
    inputs = keras.Input((5, 2))
    outputs = Constant([[1.0]], "float32")(keras.layers.Masking()(inputs))
    assert getattr(outputs, "_keras_mask", None) is None
