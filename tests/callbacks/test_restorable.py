"""The first save names what will not come back, and nothing else."""

import re
import warnings

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from tests.resuming import BATCH, X, Y, build, checkpoint_of, compressed


@keras.saving.register_keras_serializable(package="tests")
class Noise(keras.layers.Layer):
    """Draws by an operation of TensorFlow, as layers of one's own often do."""

    def call(self, inputs, training=None):
        return inputs + tf.random.normal(tf.shape(inputs)) if training else inputs


@keras.saving.register_keras_serializable(package="tests")
class StoredNoise(keras.layers.Layer):
    """Draws from a generator that belongs to the layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.numbers = tf.random.Generator.from_seed(1)

    def call(self, inputs, training=None):
        return inputs + self.numbers.normal(tf.shape(inputs)) if training else inputs


@keras.saving.register_keras_serializable(package="tests")
class FromPython(keras.layers.Layer):
    """Asks a Python function."""

    def call(self, inputs):
        shape = inputs.shape
        inputs = inputs + tf.numpy_function(lambda: np.float32(0.0), [], tf.float32)
        return tf.ensure_shape(inputs, shape)


def with_layer(layer):
    def make():
        keras.utils.set_random_seed(3)
        inputs = keras.Input((6,), name="inputs")
        x = layer(name="mine")(keras.layers.Dense(4, name="hidden")(inputs))
        model = keras.Model(inputs, keras.layers.Dense(2, name="out")(x))
        model.compile("adam", "mse")
        return model

    return make


def said(tmp_path, *arguments, make=build, callbacks=None, **options):
    """Return what the saves of a training warn of."""
    controller, model = compressed(make, [{"algorithm": "quantization"}])
    manager = kc.CheckpointManagerCallback(checkpoint_of(controller), tmp_path, save_freq=2)
    callbacks = kc.create_compression_callbacks(controller) if callbacks is None else callbacks
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(*(arguments or (X, Y)), epochs=2, callbacks=[*callbacks, manager], verbose=0, **options)
    return [str(warning.message) for warning in caught]


def rows():
    return tf.data.Dataset.from_tensor_slices((X, Y))


def batches():
    for _ in range(100):
        yield X[:8], Y[:8]


@pytest.mark.extended
def test_what_comes_back_is_not_named(tmp_path):
    assert said(tmp_path) == []
    assert said(tmp_path, rows().shuffle(30).batch(BATCH)) == []
    assert said(tmp_path, make=with_layer(StoredNoise)) == []


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Noise, r"\['mine'\] draw random numbers by operations without a state"),
        (FromPython, r"\['mine'\] call Python functions"),
    ],
)
@pytest.mark.parametrize("steps", [1, 2])
def test_a_layer_whose_numbers_do_not_come_back_is_named(layer, words, steps, tmp_path):
    def make():
        model = with_layer(layer)()
        model.compile("adam", "mse", steps_per_execution=steps)
        return model

    [message] = said(tmp_path, make=make)
    assert message.startswith("A training that is resumed from these checkpoints will not end with the bits")
    assert re.search(words, message)


def without_seed():
    model = build()
    tf.random.set_seed(None)
    return model


@pytest.mark.parametrize(
    ("data", "unseeded"),
    [
        (lambda: (X, Y), True),
        (lambda: (rows().shuffle(30).batch(BATCH),), True),
        (lambda: (rows().map(lambda x, y: (x + tf.random.normal([6]), y)).batch(BATCH),), True),
        (lambda: (rows().shuffle(30, seed=1).batch(BATCH),), False),
        (lambda: (rows().batch(BATCH),), False),
    ],
)
def test_data_without_a_seed_are_named(data, unseeded, tmp_path):
    tf.random.set_seed(None)
    messages = said(tmp_path, *data(), make=without_seed)
    assert ["at random without a seed" in message for message in messages] == [True] * unseeded


def test_data_of_python_code_are_named(tmp_path):
    [message] = said(tmp_path, batches(), steps_per_epoch=4)
    assert "the data come from Python code" in message


def test_a_fit_without_the_callbacks_that_know_its_place_is_named(tmp_path):
    [message] = said(tmp_path, callbacks=[])
    assert "the place in fit is not known; pass kc.create_compression_callbacks(controller) to fit" in message
