"""A model that a layer holds is built again as a model of its own is: deep, with lambdas, with what was adapted."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import build, take
from keras_compress.graph.serialization import live_copy

layers = keras.layers


class Holder(layers.Layer):
    """A layer that computes with a model that it holds."""

    def __init__(self, body, **kwargs):
        super().__init__(**kwargs)
        self.body = body

    def call(self, inputs):
        return self.body(inputs)


def adapted(layer, data):
    with warnings.catch_warnings():  # Keras' own of the version of NumPy
        warnings.simplefilter("ignore")
        layer.adapt(data)
    return layer


def normalization():
    inputs = keras.Input((8,))
    layer = adapted(layers.Normalization(), np.random.RandomState(0).normal(3.0, 2.0, size=(64, 8)))
    return keras.Model(inputs, layers.Dense(2)(layer(inputs)))


def discretization():
    inputs = keras.Input((8,))
    layer = adapted(layers.Discretization(num_bins=4), np.random.RandomState(0).normal(size=(64, 8)))
    return keras.Model(inputs, layers.Embedding(5, 3)(layer(inputs)))


def lookup():
    inputs = keras.Input((8,))
    layer = adapted(layers.IntegerLookup(), np.arange(-3, 4))
    return keras.Model(inputs, layers.Embedding(9, 3)(layer(tf.cast(inputs, "int64"))))


def lambdas():
    inputs = keras.Input((8,))
    x = layers.Lambda(lambda x: 2 * x)(layers.Dense(4, activation=lambda x: tf.nn.relu(x))(inputs))
    return keras.Sequential([keras.Model(inputs, x), layers.Dense(2, kernel_regularizer=lambda w: tf.reduce_sum(w))])


def deep():
    inputs = x = keras.Input((8,))
    for _ in range(400):
        x = layers.Activation("linear")(x)
    return keras.Model(inputs, layers.Dense(2)(x))


BODIES = {make.__name__: make for make in (normalization, discretization, lookup, lambdas, deep)}


@pytest.mark.parametrize("kind", BODIES)
def test_a_held_model_is_built_again_as_a_model_of_its_own(kind):
    body = BODIES[kind]()
    inputs = keras.Input((8,))
    model = keras.Model(inputs, Holder(body, name="holder")(inputs))
    data = np.random.RandomState(1).normal(size=(4, 8)).astype(np.float32)
    expected = body(data).numpy()
    alone = live_copy().of_value(body)  # with nothing around it that sets up the building
    for made in (build(take(body)), alone, build(take(model)), build(take(build(take(model))))):
        np.testing.assert_allclose(made(data), expected, rtol=1e-6)
        assert len(made.trainable_variables) == len(body.trainable_variables)
        assert not {id(variable) for variable in made.variables} & {id(variable) for variable in body.variables}


def test_a_held_model_that_shares_a_weight_with_itself_is_told_and_refused_by_name():
    words = keras.Input((8,), dtype="int32")
    table = layers.Embedding(8, 8, name="words")
    body = keras.Model(words, tf.matmul(layers.Dense(8)(table(words)), table.embeddings, transpose_b=True))
    model = keras.Model(words, Holder(body)(words))
    with (
        pytest.warns(UserWarning, match=r"'embeddings' of layer 'words'"),
        pytest.raises(kc.UnsupportedModelError, match=r"'holder' .* cannot be copied with \['words/embeddings"),
    ):
        build(take(model))
