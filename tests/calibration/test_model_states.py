"""A model runs without memory of earlier runs, and gets back what it remembered, whatever happens."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.calibration.model_states import fresh_states
from tests.calibration.counter import Counter

layers = keras.layers


def recurrent():
    x = keras.Input(batch_shape=(1, 3, 2))
    hidden = layers.Bidirectional(layers.LSTM(4, stateful=True, return_sequences=True))(x)
    inner = keras.Sequential([keras.Input(batch_shape=(1, 3, 8)), layers.GRU(2, stateful=True)])
    return keras.Model(x, Counter()(inner(hidden)))


def values(model):
    layers_with_states = [layer for layer in model._flatten_layers() if getattr(layer, "states", None) is not None]
    found = [state for layer in layers_with_states for state in tf.nest.flatten(layer.states) if state is not None]
    return [state.numpy() for state in found] + [model.layers[-1].count.numpy()]


def test_runs_begin_without_memory_and_leave_the_memory_that_was_there():
    model, x = recurrent(), tf.ones((1, 3, 2))
    model.reset_states()
    first = model(x).numpy()
    model(x)
    before = values(model)
    with fresh_states(model) as states:
        np.testing.assert_allclose(model(x), first, atol=1e-6)
        assert np.abs(model(x).numpy() - first).max() > 0.1
        states.reset()
        np.testing.assert_allclose(model(x), first, atol=1e-6)

        @tf.function
        def twice():
            states.reset()
            one = model(x)
            states.reset()
            return one, model(x)

        for outputs in twice():
            np.testing.assert_allclose(outputs, first, atol=1e-6)
    for one, other in zip(values(model), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_memory_comes_back_after_an_error():
    model = recurrent()
    model(tf.ones((1, 3, 2)))
    before = values(model)

    def run_and_fail():
        with fresh_states(model):
            model(tf.ones((1, 3, 2)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_and_fail()
    for one, other in zip(values(model), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_models_without_memory_are_left_alone():
    model = keras.Sequential([keras.Input((2,)), layers.BatchNormalization(), layers.Dense(1)])
    weights = model.get_weights()
    with fresh_states(model) as states:
        states.reset()
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)
