"""What an activation function tells about the values behind it, against the values themselves."""

from math import inf

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.graph import ModelGraph, TensorRef, take
from keras_compress.graph.activations import UNKNOWN, activation_of
from keras_compress.graph.layer_lookup import spec_of
from keras_compress.graph.layer_table import LAYER_TABLE

layers = keras.layers

ENDS = {
    "ReLU": (layers.ReLU(), (0, inf)),
    "ReLU6": (layers.ReLU(6.0), (0, 6)),
    "leaky ReLU by its slope": (layers.ReLU(negative_slope=0.1), (-inf, inf)),
    "bounded leaky ReLU": (layers.ReLU(4.0, negative_slope=0.1), (-inf, 4)),
    "LeakyReLU": (layers.LeakyReLU(), (-inf, inf)),
    "Softmax": (layers.Softmax(), (0, 1)),
    "linear": (layers.Dense(4), (-inf, inf)),
    "normalized": (layers.BatchNormalization(), (-inf, inf)),
    "convolution": (layers.Conv1D(4, 1, activation="relu"), (0, inf)),
    "dense": (layers.Dense(4, activation="sigmoid"), (0, 1)),
    **{name: (layers.Activation(name), bounds) for name, bounds in {
        "relu": (0, inf), "relu6": (0, 6), "softplus": (0, inf), "exponential": (0, inf), "sigmoid": (0, 1),
        "hard_sigmoid": (0, 1), "softmax": (0, 1), "tanh": (-1, 1), "softsign": (-1, 1), "elu": (-inf, inf),
        "swish": (-inf, inf),
    }.items()},
    "tf.nn.relu": (tf.nn.relu, (0, inf)),
    "tf.nn.relu6": (tf.nn.relu6, (0, 6)),
    "tf.sigmoid": (tf.sigmoid, (0, 1)),
    "tf.tanh": (tf.tanh, (-1, 1)),
    "tf.exp": (tf.exp, (0, inf)),
    "tf.nn.softmax": (tf.nn.softmax, (0, 1)),
    "tf.nn.softplus": (tf.nn.softplus, (0, inf)),
    "tf.nn.softsign": (tf.nn.softsign, (-1, 1)),
    "tf.abs": (tf.abs, (-inf, inf)),
}  # fmt: skip


@keras.saving.register_keras_serializable("tests")
class Shifted(layers.Activation):
    """A layer that only looks like one of Keras."""

    def call(self, inputs):
        return super().call(inputs) - 1.0


ENDS["layer of the user"] = (Shifted("relu"), (-inf, inf))


@pytest.mark.parametrize("name", ENDS)
def test_bounds(name):
    end, expected = ENDS[name]
    values = keras.Input((5, 4))
    model = keras.Model(values, end(values))
    graph = ModelGraph(take(model))
    low, high = graph.producer(graph.outputs()[0]).spec.activation.bounds
    assert (low, high) == expected
    found = model.predict(np.random.default_rng(0).normal(0, 20, size=(50, 5, 4)), verbose=0)
    assert low <= found.min()
    assert found.max() <= high


def test_an_input_is_not_bounded():
    model = keras.Sequential([keras.Input((4,), name="x"), layers.ReLU()])
    assert ModelGraph(take(model)).producer(TensorRef("x", 0, 0)).spec.activation.bounds == (-inf, inf)


ELEMENTWISE = [name for name, row in LAYER_TABLE.items() if row.elementwise and name[0].isupper()]
NAMES = [*(name for name in dir(keras.activations) if activation_of(name) is not UNKNOWN), "leaky_relu", "relu6"]


def is_elementwise(function):
    """Whether exchanging values along any axis exchanges those of the result, and a value changes no other."""
    values = np.random.default_rng(0).normal(0, 3, (3, 4, 5)).astype(np.float32)
    other = values.copy()
    other[0, 0, 0] += 1.0
    changed = np.argwhere(np.asarray(function(values)) != np.asarray(function(other)))
    turned = [np.allclose(function(np.flip(values, axis)), np.flip(function(values), axis)) for axis in (1, 2)]
    return len(changed) <= 1 and all(turned)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_layers_that_the_table_calls_elementwise_are(name):
    assert is_elementwise(getattr(layers, name)())


@pytest.mark.parametrize("name", NAMES)
def test_activation_functions_are_elementwise_or_not_as_they_say(name):
    layer = layers.Activation(name)
    assert is_elementwise(layer) == activation_of(name).elementwise
    assert spec_of("Activation", layer.get_config()).elementwise == activation_of(name).elementwise


def test_a_function_of_the_users_is_not_taken_for_elementwise():
    assert not spec_of("Activation", {"activation": "of mine"}).elementwise
    assert not spec_of("ReLU", {}, builtin=False).elementwise


def test_layers_that_scale_data_are_in_the_table():
    assert [name for name, row in LAYER_TABLE.items() if row.scales_data] == ["Rescaling", "Normalization"]
