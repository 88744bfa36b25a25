"""A batch is fixed by layers if they refuse another one or mix its samples, and not by outputs that have a size alone."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.calibration.layer_hooks import hooked_calls
from keras_compress.data import fixed_batch, input_specs
from keras_compress.data.batch_of_layers import batch_of_layers

layers = keras.layers


class Reshaped(layers.Layer):
    """A layer of one's own with the batch written into it."""

    def call(self, inputs):
        return tf.reshape(inputs, (4, -1))


class Shaped(layers.Layer):
    """A layer of one's own that says which shape its output has."""

    def call(self, inputs):
        outputs = tf.identity(inputs)
        outputs.set_shape((4, 6, 5))
        return outputs


def nested(function):
    inner = keras.Input((6, 5))
    model = keras.Model(inner, function(inner))
    return lambda x: model(x)


def recurrent_ctc(x):
    hidden = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(layers.Conv1D(4, 3, padding="same")(x))
    return tf.transpose(layers.Dense(7, "softmax")(hidden), [1, 0, 2])


#: What is made of an input of shape (batch, 6, 5), and the batch it fixes.
FUNCTIONS = {
    "time first": (lambda x: tf.transpose(x, [1, 0, 2]), None),
    "time first in a Lambda": (lambda x: layers.Lambda(lambda v: tf.transpose(v, [1, 0, 2]))(x), None),
    "time first, recurrent": (recurrent_ctc, None),
    "time first, nested": (nested(lambda x: tf.transpose(x, [1, 0, 2])), None),
    "features first": (lambda x: tf.transpose(x), None),
    "features of all positions": (lambda x: tf.transpose(tf.reshape(x, (-1, 5))), None),
    "mean over the batch": (lambda x: tf.reduce_mean(x, axis=0), None),
    "mean over the batch, axis kept": (lambda x: tf.reduce_mean(x, axis=0, keepdims=True), None),
    "sum over batch and time, axes kept": (lambda x: tf.reduce_sum(x, axis=[0, 1], keepdims=True), None),
    "dense layer on a mean": (lambda x: layers.Dense(3)(tf.reduce_mean(x[:, 0], axis=0, keepdims=True)), None),
    "largest of all": (lambda x: tf.reduce_max(tf.reshape(x, (1, -1)), axis=1, keepdims=True), None),
    "products of features": (lambda x: tf.matmul(x[:, 0], x[:, 0], transpose_a=True), None),
    "first samples": (lambda x: tf.gather(x, [0, 1]), None),
    "number": (lambda x: tf.reduce_mean(x), None),
    "one of two open": (lambda x: [tf.reshape(x, (4, 30)), layers.Dense(2)(x)], None),
    "no layer": (lambda x: layers.Dense(2)(x), None),
    "reshape": (lambda x: tf.reshape(x, (4, -1)), 4),
    "reshape of one sample": (lambda x: tf.reshape(x, (1, 30)), 1),
    "reshape and mean": (lambda x: tf.reduce_mean(tf.reshape(x, (4, -1)), axis=1), 4),
    "reshape and dense": (lambda x: layers.Dense(2)(tf.ensure_shape(tf.reshape(x, (4, -1)), (4, 30))), 4),
    "reshape of time": (lambda x: tf.reshape(x, (4, -1, 5)), 4),
    "whole reshape": (lambda x: tf.reshape(x, (7, 30)), 7),
    "windows put together": (lambda x: tf.reshape(layers.Dense(4)(tf.reshape(x, (-1, 3, 5))), (3, 6, 4)), 3),
    "ensured": (lambda x: tf.ensure_shape(x, (4, 6, 5)), 4),
    "constant added": (lambda x: x + tf.ones((4, 6, 5)), 4),
    "joined": (lambda x: tf.concat([tf.reshape(x, (4, 6, 5)), layers.Dense(2)(x)], -1), 4),
    "reshape in a Lambda": (lambda x: layers.Lambda(lambda v: tf.reshape(v, (4, 30)))(x), 4),
    "layer of one's own": (lambda x: Reshaped()(x), 4),
    "shape of one's own": (lambda x: Shaped()(x), 4),
    "nested": (nested(lambda x: tf.reshape(x, (4, -1))), 4),
    "two outputs": (lambda x: [tf.reshape(x, (4, -1)), tf.reduce_mean(tf.reshape(x, (4, -1)), 1)], 4),
}


def model_of(name, shape=(6, 5)):
    x = keras.Input(shape, name="x")
    return keras.Model(x, FUNCTIONS[name][0](x))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_batch_is_fixed_by_what_refuses_or_mixes_other_ones(name):
    model = model_of(name)
    for _ in range(2):
        assert (batch_of_layers(model), fixed_batch(input_specs(model))) == (FUNCTIONS[name][1],) * 2


@pytest.mark.parametrize("name", ["time first", "features first", "reshape of time"])
def test_open_lengths_make_no_difference(name):
    assert batch_of_layers(model_of(name, (None, 5))) == FUNCTIONS[name][1]


def test_what_an_input_fixes_is_believed():
    x = keras.Input((5,), batch_size=4)
    assert fixed_batch(input_specs(keras.Model(x, tf.transpose(x)))) == 4


def test_a_layer_that_is_added_is_seen():
    model = keras.Sequential([keras.Input((6, 5)), layers.Lambda(lambda x: tf.transpose(x, [1, 0, 2]))])
    assert batch_of_layers(model) is None
    model.add(layers.Lambda(lambda x: tf.reshape(tf.transpose(x, [1, 0, 2]), (6, 30))))
    assert batch_of_layers(model) == 6


def test_looking_calls_no_hook_and_leaves_nothing():
    model = model_of("reshape and dense")
    seen = []

    def hook(call, *inputs, **arguments):
        seen.append(inputs)
        return call(*inputs, **arguments)

    with hooked_calls(dict.fromkeys(model.layers[1:], hook)):
        assert batch_of_layers(model) == 4
    assert seen == []
    assert not model.losses


@pytest.mark.parametrize("name", ["time first, recurrent", "dense layer on a mean"])
def test_models_that_turn_their_batch_are_calibrated_on_every_sample(name):
    model = model_of(name)
    data = np.random.default_rng(0).normal(size=(40, 6, 5)).astype(np.float32)
    seen = []

    def source():
        for row in data:
            seen.append(row)
            yield row

    compressed = kc.quantize(model, kc.Dataset(source), subset_size=40)
    assert len(seen) >= 40
    assert (
        compressed.predict(data, batch_size=40, verbose=0).shape == model.predict(data, batch_size=40, verbose=0).shape
    )


def nested(steps, outputs):
    """A model of open batch around one whose input has a batch of 6."""
    inside = keras.Input((4, 4), batch_size=6)
    inner = keras.Model(inside, keras.layers.Dense(4)(steps(inside)))
    x = keras.Input((4, 4))
    return keras.Model(x, outputs(x, inner(x)))


NESTED = {
    "rows": (lambda x: tf.reshape(x, (6, -1)), 6),
    "rows, averaged": (lambda x: tf.reduce_mean(tf.reshape(x, (6, -1, 4)), 1), 6),
    "a state": (keras.layers.LSTM(4, stateful=True), 6),
    "any number": (keras.layers.Flatten(), None),
}
OUTPUTS = {
    "one": lambda x, y: keras.layers.Dense(3)(y),
    "another one of any batch": lambda x, y: [y, keras.layers.Flatten()(x)],
}


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("steps", NESTED)
def test_the_batch_that_a_nested_model_fixes_is_that_of_the_model(steps, outputs):
    make, batch = NESTED[steps]
    assert fixed_batch(input_specs(nested(make, OUTPUTS[outputs]))) == batch
