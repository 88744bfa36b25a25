"""Constant gives the same tensor for every input, in the type that the layer computes in, and can be saved."""

import json

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


@pytest.mark.parametrize(
    "value", [["a", "bé"], [b"\xff\x00", b""], np.array(["a", "bc"]), np.array([1 + 2j, 3], "complex64")], ids=str
)
def test_strings_and_complex_numbers_survive_their_configuration_as_text(value):
    layer = Constant(value)
    again = deserialize(json.loads(json.dumps(serialize(layer))))
    np.testing.assert_array_equal(again(tf.zeros((1, 1))), layer(tf.zeros((1, 1))))
    assert layer(tf.zeros((1, 1))).shape == (2,)


def test_its_description_has_the_array_itself():
    array = np.ones((3, 4), np.float32)
    description = Constant(array).description()
    assert isinstance(description["config"]["value"], np.ndarray)
    np.testing.assert_array_equal(deserialize(description)(tf.zeros((1, 1))), array)
    assert {**description, "config": None} == {
        key: value if key != "config" else None
        for key, value in serialize(Constant(array)).items()
        if key in description
    }
