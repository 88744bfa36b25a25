"""Parameter gives a variable for every input, which is trained, and can be saved."""

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
