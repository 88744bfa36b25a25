"""An .xml file has the inputs and outputs of the Keras model: their number, order and names, whatever nothing reads."""

import numpy as np
import openvino
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from tests import zoo
from tests.export.compare import decibels

layers = keras.layers


def unread_input():
    a, b = keras.Input((6,), name="a"), keras.Input((5,), name="b")
    return keras.Model([a, b], layers.Dense(4, name="y")(a))


def unread_first_and_last():
    a, b, c = (keras.Input((6,), name=name) for name in ("zz", "b", "aa"))
    return keras.Model([a, b, c], [layers.Dense(3, name="late")(b), layers.Dense(4, name="early")(b)])


def input_as_output():
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    return keras.Model([b, a], [b, layers.Dense(4, name="y")(a)])


def one_tensor_twice():
    a = keras.Input((6,), name="a")
    y = layers.Dense(4, name="y")(a)
    return keras.Model(a, [y, layers.Dense(3, name="aa")(y), y])


def shared_input():
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    joined = layers.Concatenate()([b, a])
    return keras.Model([b, a], [layers.Dense(2, name="two")(joined), layers.Dense(4, name="four")(a)])


@pytest.mark.parametrize("make", [unread_input, unread_first_and_last, input_as_output, one_tensor_twice, shared_input])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_inputs_and_outputs_are_those_of_the_model(make, batch_size, tmp_path):
    model = make()
    x = zoo.samples(model, 4, seed=7)
    arrays = x if isinstance(x, (list, tuple)) else [x]
    quantized = kc.quantize(model, x)
    report = kc.export_model(quantized, tmp_path / "model.xml", data=x, batch_size=batch_size)
    compiled = openvino.Core().compile_model(tmp_path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert [f"{name}:0" in port.get_names() for name, port in zip(model.input_names, compiled.inputs, strict=True)]
    found = compiled(dict(enumerate(arrays)))
    expected = zoo.predict(quantized, x)
    assert len(compiled.outputs) == len(expected)
    assert decibels(expected, [np.array(found[port]) for port in compiled.outputs]) >= 100
    assert report.problems == []
    assert report.comparison.sqnr >= 100


def lstm():
    return layers.LSTM(4), (10, 1)


def gru():
    return layers.GRU(4), (10, 1)


def dense_of_one_column():
    return layers.Dense(4), (10, 1)


def dense_of_one_number():
    return layers.Dense(4), (1,)


def dense_to_one_number():
    return layers.Dense(1), (6,)


def convolution():
    return layers.Conv1D(4, 1), (10, 1)


def image_convolution():
    return layers.Conv2D(4, 1), (6, 6, 1)


def time_distributed():
    return layers.TimeDistributed(layers.Dense(4)), (10, 1)


def embedding():
    return layers.Embedding(5, 1), (10,)


def attention():
    x = keras.Input((10, 1))
    return keras.Model(x, layers.MultiHeadAttention(2, 4)(x, x)), (10, 1)


@pytest.mark.parametrize(
    "make",
    [
        *(lstm, gru, dense_of_one_column, dense_of_one_number, dense_to_one_number, convolution, image_convolution),
        *(time_distributed, embedding, attention),
    ],
)
def test_weights_of_one_row_or_column_are_integers(make, tmp_path):
    layer, shape = make()
    whole = isinstance(layer, layers.Embedding)
    generator = np.random.default_rng(5)
    x = generator.integers(0, 5, (8, *shape)) if whole else generator.normal(size=(8, *shape))
    x = x.astype(np.int32 if whole else np.float32)
    model = layer if isinstance(layer, keras.Model) else keras.Sequential([keras.Input(shape, dtype=x.dtype), layer])
    report = kc.export_model(kc.quantize(model, x), tmp_path / "model.xml", data=x)
    assert report.problems == []
    assert {row.stored_as for row in report.weights} <= {"int8", "uint8"}
    assert report.comparison.sqnr >= 60


class Branches(layers.Layer):
    """A layer that takes one of two ways."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.left, self.right = layers.Dense(4), layers.Dense(4, activation="tanh")

    def call(self, inputs):
        return tf.cond(tf.reduce_sum(inputs) > 0.0, lambda: self.left(inputs), lambda: self.right(inputs))


class Loop(layers.Layer):
    """A layer that takes one of two ways in each step of a loop."""

    def call(self, inputs):
        def step(i, x):
            return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: tf.tanh(x), lambda: 0.9 * x)

        return tf.while_loop(lambda i, _: i < 3, step, (0, inputs))[1]


@pytest.mark.parametrize("layer", [Branches, Loop])
def test_branches_are_written_as_loops_are(layer, tmp_path):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5), layer(name="own"), layers.Dense(2)])
    x = zoo.samples(model, 16)
    report = kc.export_model(kc.quantize(model, x), tmp_path / "model.xml", data=x)
    assert report.faults == []
    assert report.comparison.sqnr >= 100
