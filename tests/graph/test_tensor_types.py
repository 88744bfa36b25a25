"""Shapes, indices and single numbers get no quantizer: models that compute with them take any batch after quantization."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import ModelGraph, TensorRef, take
from keras_compress.graph.integer_computation import is_quantizer
from keras_compress.graph.tensor_types import not_activations
from tests.levels import levels
from tests.zoo import normal, sqnr

layers = keras.layers
Dense = layers.Dense


def inner(shape, function):
    inputs = keras.Input(shape)
    return keras.Model(inputs, function(inputs))


def with_class_token(values, repeat):
    token = repeat(tf.constant(normal(1, 1, 4)), tf.shape(values)[0])
    return Dense(2)(tf.concat([token, values], 1))


#: Functions of a tensor of shape (batch, 5, 4) that compute with its shape, with indices or with single numbers.
MODELS = {
    "reshape": lambda x: Dense(2)(tf.reshape(x, [tf.shape(x)[0], -1, 4])),
    "reshape by a product": lambda x: Dense(2)(tf.reshape(x, [tf.shape(x)[0] * tf.shape(x)[1], 4])),
    "slice": lambda x: Dense(2)(tf.slice(x, [0, 1, 0], [tf.shape(x)[0], 3, 4])),
    "tile": lambda x: with_class_token(x, lambda token, batch: tf.tile(token, (batch, 1, 1))),
    "repeat": lambda x: with_class_token(x, lambda token, batch: tf.repeat(token, batch, 0)),
    "broadcast": lambda x: with_class_token(x, lambda token, batch: tf.broadcast_to(token, (batch, 1, 4))),
    "index": lambda x: Dense(2)(x[:, tf.shape(x)[1] - 2 :]),
    "scale": lambda x: Dense(2)(x / tf.sqrt(tf.cast(tf.shape(x)[2], "float32"))),
    "variable": lambda x: Dense(2)(Dense(3)(x) * tf.Variable(2.0)),
    "gather": lambda x: Dense(2)(tf.gather(x, tf.argmax(tf.reduce_sum(x, -1), -1), axis=1, batch_dims=1)),
    "condition": lambda x: Dense(2)(tf.where(x > 0.0, x, 0.1 * x)),
    "nested": lambda x: Dense(2)(inner((5, 4), lambda y: tf.reshape(Dense(4)(y), [tf.shape(y)[0], -1, 4]))(x)),
}


@pytest.mark.parametrize("name", levels(MODELS, first=["reshape", "tile", "variable", "nested"]))
def test_quantized_models_take_any_batch(name, tmp_path):
    inputs = keras.Input((5, 4))
    model = keras.Model(inputs, MODELS[name](Dense(4)(inputs)))
    compressed = kc.quantize(model, normal(64, 5, 4).numpy())
    for batch in (50, 3):
        samples = np.random.default_rng(batch).normal(size=(batch, 5, 4)).astype(np.float32)
        expected, received = model(samples).numpy(), compressed(samples, training=False).numpy()
        assert received.shape == expected.shape
        assert sqnr(expected, received) > 20
    assert kc.export_model(compressed, tmp_path / "model.onnx").comparison.sqnr > 20


def test_quantizers_stand_on_floating_point_alone():
    inputs = keras.Input((5, 4))
    for function in MODELS.values():
        graph = ModelGraph(take(kc.quantize(keras.Model(inputs, function(Dense(4)(inputs))), normal(8, 5, 4).numpy())))
        quantized = [node for node in graph.nodes.values() if is_quantizer(node)]
        assert quantized
        assert all(graph.is_activation(source) for node in quantized for source in node.inputs)


def test_calls_of_nested_models_and_several_outputs_have_their_own_places():
    outputs = inner((4,), lambda y: [y, tf.argmax(y, -1), tf.reduce_sum(y)])
    inputs = keras.Input((4,))
    first, second, _ = outputs(inputs)
    model = keras.Model(inputs, [first, second, outputs(first)[1]])
    name = outputs.name
    assert {place for place in not_activations(model) if place[0] == name} == {
        (name, call, output) for call in (1, 2) for output in (1, 2)
    }
    graph = ModelGraph(take(model))
    assert not graph.is_activation(TensorRef(name, 2, 1))
    assert graph.is_activation(TensorRef(name, 2, 0))
