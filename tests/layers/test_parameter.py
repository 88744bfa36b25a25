"""Parameter gives a variable for every input, which is trained, and can be saved."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import deserialize, keras, serialize
from keras_compress.layers import Parameter


@pytest.mark.parametrize("trainable", [True, False])
def test_it_gives_its_variable_and_survives_its_configuration(trainable):
    layer = Parameter([[1.0, 2.0]], trainable=trainable)
    again = deserialize(serialize(layer))
    for made in (layer, again):
        np.testing.assert_array_equal(made(tf.zeros((3, 4))), [[1.0, 2.0]])
        assert len(made.trainable_variables) == int(trainable)
    layer.value.assign([[5.0, 6.0]])
    np.testing.assert_array_equal(layer(tf.zeros((3, 4))), [[5.0, 6.0]])


def test_it_is_trained_and_saved(tmp_path):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Multiply()([inputs, Parameter([[1.0, 2.0]])(inputs)]))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(np.ones((4, 2)), np.zeros((4, 2)), verbose=0)
    assert np.all(model.get_weights()[0] < [[1.0, 2.0]])
    model.save(tmp_path / "model.keras")
    read = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(read.get_weights()[0], model.get_weights()[0])


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool", "string", "complex64", "float16", "float64"])
def test_its_variable_has_the_type_of_the_array(dtype):
    value = tf.constant([["1", "0"]]) if dtype == "string" else tf.cast([[1, 0]], dtype)
    layer = Parameter(value.numpy(), dtype=dtype if dtype.startswith("float") else None)
    again = deserialize(json.loads(json.dumps(serialize(layer))))
    for made in (layer, again):
        result = made(tf.zeros((3, 4)))
        assert result.dtype == made.value.dtype == dtype
        np.testing.assert_array_equal(result, value)
        assert len(made.trainable_variables) == int(dtype.startswith(("float", "complex")))
