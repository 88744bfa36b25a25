"""A loss that is no longer finite is told once, with the layer where it began."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.callbacks import FiniteLossCallback

layers = keras.layers
RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(64, 8)).astype(np.float32)
TARGETS = np.zeros((64, 4), np.float32)
CONFIG = {"compression": {"algorithm": "quantization"}}


def network(middle=None):
    inputs = keras.Input((8,))
    hidden = layers.Dense(8, name="second")(layers.Dense(8, "relu", name="first")(inputs))
    if middle is not None:
        hidden = layers.Lambda(middle, name="middle")(hidden)
    return keras.Model(inputs, layers.Dense(4, name="last")(hidden))


def told(model, *, rate=0.01, loss="mse", targets=TARGETS, epochs=2, **options):
    """Return what a training warns of."""
    model.compile(keras.optimizers.SGD(rate), loss, **options)
    controller, compressed = kc.create_compressed_model(model, kc.register_default_init_args(CONFIG, INPUTS))
    callbacks = kc.create_compression_callbacks(controller)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compressed.fit(INPUTS, targets, epochs=epochs, batch_size=8, shuffle=False, verbose=0, callbacks=callbacks)
    return [str(warning.message) for warning in caught if "no longer finite" in str(warning.message)]


def test_a_sound_training_is_told_nothing():
    assert told(network()) == []


def test_the_layer_that_computes_it_first_is_named():
    [message] = told(network(lambda tensor: tf.math.log(tensor + 30.0)), rate=10.0)
    assert "It began in layer 'middle'" in message
    assert "epoch 0" in message


def test_a_gradient_is_named_behind_the_last_layer_that_it_spoils():
    [message] = told(network(lambda tensor: tensor + tf.sqrt(tensor * 0.0)), epochs=1)
    assert "It began in the gradient behind layer 'second'" in message


@pytest.mark.parametrize("targets", [np.full_like(TARGETS, np.nan), np.full_like(TARGETS, np.inf)])
def test_targets_that_are_not_finite_began_behind_the_last_layer(targets):
    [message] = told(network(), targets=targets)
    assert "batch 0 of epoch 0" in message
    assert "It began behind layer 'last'" in message


def test_the_largest_activation_is_named_where_the_weights_have_grown():
    [message] = told(network(), rate=1e30)
    assert "computes" in message


def test_it_is_told_once_per_fit_and_again_by_the_next():
    model, callback = network(), FiniteLossCallback()
    model.compile("sgd", "mse")
    for _ in range(2):
        with pytest.warns(UserWarning, match="no longer finite") as caught:
            model.fit(INPUTS, TARGETS * np.nan, epochs=3, verbose=0, callbacks=[callback])
        assert len(caught) == 1


def test_the_model_is_not_changed_by_looking_for_the_layer():
    trained = []
    for callbacks in ([], [FiniteLossCallback()]):
        keras.utils.set_random_seed(3)
        model = network()
        model.compile("sgd", "mse")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(INPUTS, TARGETS, epochs=2, verbose=0, callbacks=callbacks)
            model.fit(INPUTS, TARGETS * np.nan, verbose=0, callbacks=callbacks)
        trained.append(model.get_weights())
    assert all(np.array_equal(*pair, equal_nan=True) for pair in zip(*trained, strict=True))
