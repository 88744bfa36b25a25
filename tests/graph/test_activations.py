"""What an activation function tells about the values behind it, against the values themselves."""

from math import inf

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.graph import ModelGraph, TensorRef, take

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
