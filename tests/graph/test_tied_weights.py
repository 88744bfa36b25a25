"""A trained variable that two layers read is told by name; one layer that is called twice is no such case."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import build, take
from keras_compress.layers import Parameter

layers = keras.layers


class Head(layers.Layer):
    """A layer that keeps another layer of the model."""

    def __init__(self, table, **kwargs):
        super().__init__(**kwargs)
        self.kept = {"table": [table]}

    def call(self, inputs):
        return tf.matmul(inputs, self.kept["table"][0].embeddings, transpose_b=True)


class Words(layers.Embedding):
    def call(self, inputs, reverse=False):
        return tf.matmul(inputs, self.embeddings, transpose_b=True) if reverse else super().call(inputs)


def product(x, table):
    return tf.matmul(x, table.embeddings, transpose_b=True)


#: How a second layer can read the table of the layer ``words``.
TIES = {
    "an operator": product,
    "an operator by name": lambda x, table: tf.linalg.matmul(x, b=table.embeddings, transpose_b=True),
    "einsum": lambda x, table: tf.einsum("btc,vc->btv", x, table.embeddings),
    "an argument of a layer": lambda x, table: layers.Multiply()([x[:, 0], table.embeddings]),
    "a layer in a layer": lambda x, table: Head(table)(x),
    "a function": lambda x, table: layers.Lambda(lambda y: product(y, table))(x),
    "a variable of a function": lambda x, table: (
        lambda v: layers.Lambda(lambda y: tf.matmul(y, v, transpose_b=True))(x)
    )(table.embeddings),
    "a default": lambda x, table: layers.Lambda(lambda y, t=table: product(y, t))(x),
    "a partial": lambda x, table: layers.Lambda(functools.partial(lambda t, y: product(y, t), table))(x),
    "a list": lambda x, table: (lambda tables: layers.Lambda(lambda y: product(y, tables[0]))(x))([table]),
    "an activation": lambda x, table: layers.Dense(8, activation=lambda y: product(y, table))(x),
}


def tied(tie, nested=False):
    words = keras.Input((8,), dtype="int32", name="x")
    table = layers.Embedding(8, 8, name="words")
    inner = keras.Model(words, layers.Dense(8)(table(words)), name="inner")
    if not nested:
        return keras.Model(words, TIES[tie](inner.outputs[0], table))
    outer = keras.Input((8,), dtype="int32", name="y")
    return keras.Model(outer, TIES[tie](inner(outer), table))


FUNCTIONS = ["a function", "a variable of a function", "a default", "a partial", "a list", "an activation"]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("tie", FUNCTIONS)
def test_a_function_that_reads_a_variable_of_another_layer_is_refused(tie, nested):
    path = "inner/words" if nested else "words"
    with pytest.raises(
        kc.UnsupportedModelError, match=rf"'embeddings' of layer '{path}'.*(?s:.*)Expected.*Received.*call it twice"
    ):
        take(tied(tie, nested))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("tie", [tie for tie in TIES if tie not in FUNCTIONS])
def test_a_variable_that_two_layers_read_is_told_by_the_name_of_its_owner(tie, nested):
    model = tied(tie, nested)
    path = "inner/words" if nested else "words"
    with pytest.warns(UserWarning, match=rf"'embeddings' of layer '{path}'.*(?s:.*)moves apart.*call it twice"):
        snapshot = take(model)
    words = np.random.RandomState(0).randint(0, 8, (8, 8))
    again = build(snapshot)
    expected = model(words).numpy()
    np.testing.assert_allclose(again(words), expected, rtol=1e-6)
    for variable in model.trainable_variables:  # nothing is shared
        variable.assign(2.0 * variable)
    np.testing.assert_allclose(again(words), expected, rtol=1e-6)


def test_the_way_out_keeps_the_tie():
    words = keras.Input((8,), dtype="int32", name="x")
    table = Words(8, 8)
    model = keras.Model(words, table(layers.Dense(8)(table(words)), reverse=True))
    inputs = np.random.RandomState(0).randint(0, 8, (8, 8))
    again = build(take(model))
    np.testing.assert_allclose(again(inputs), model(inputs), rtol=1e-6)
    assert len(again.trainable_variables) == len(model.trainable_variables) == 3


def test_a_layer_shared_with_a_nested_model_is_no_tie():
    dense, inputs = layers.Dense(8), keras.Input((8,))
    inner = keras.Model(inputs, dense(inputs))
    outer = keras.Input((8,))
    assert len(build(take(keras.Model(outer, dense(inner(outer))))).trainable_variables) == 2


def test_an_object_that_knows_all_layers_reads_none_of_them():
    class Network:
        def __init__(self):
            self.layers = [layers.Dense(8)]

        def doubled(self, x):
            return 2.0 * x

    network, inputs = Network(), keras.Input((8,))
    model = keras.Model(inputs, layers.Lambda(network.doubled)(network.layers[0](inputs)))
    assert len(build(take(model)).trainable_variables) == 2


def test_a_variable_that_is_not_trained_may_be_read_by_many_layers():
    class Annealed(layers.Layer):
        def __init__(self, temperature, **kwargs):
            super().__init__(**kwargs)
            self.temperature = temperature

        def call(self, inputs):
            return inputs * self.temperature

    temperature, inputs = tf.Variable(2.0, trainable=False), keras.Input((8,))
    model = keras.Model(inputs, Annealed(temperature)(Annealed(temperature)(inputs)))
    np.testing.assert_array_equal(build(take(model))(np.ones((1, 8))), np.full((1, 8), 4.0))


@pytest.mark.parametrize("depth", [1, 2])
def test_a_variable_that_several_nested_models_read_has_one_owner(depth):
    variable = tf.Variable(np.full((1, 8), 2.0, np.float32))
    inputs = keras.Input((8,))
    model = keras.Model(inputs, inputs * variable, name="nested")
    for level in range(depth):
        outer = keras.Input((8,))
        model = keras.Model(outer, model(outer) * variable, name=f"outer_{level}")
    samples = np.ones((3, 8), np.float32)
    first = build(take(model))
    for again in (build(take(first)), first):
        assert len(again.trainable_variables) == len(again.variables) == 1
        np.testing.assert_allclose(again(samples), model(samples))
        again.trainable_variables[0].assign(tf.zeros((1, 8)))
        np.testing.assert_array_equal(again(samples), 0.0 * samples)
    assert any(isinstance(layer, Parameter) for layer in first.layers)
