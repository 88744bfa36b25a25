"""What is on the way into a logarithm, a root or a divisor stays in floating point, up to where trained layers end."""

import pytest
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.graph import LayerRole, ModelGraph, take
from keras_compress.graph.dynamic_range import nodes_of_full_range
from keras_compress.graph.quantization_points import quantization_points

layers = keras.layers


def in_floating_point(model):
    """Return the names of the layers with operands that are put into floating point."""
    graph = ModelGraph(take(model))
    return {ref.layer for ref in nodes_of_full_range(graph) if graph.nodes[ref].inputs}


def readers(model):
    """Return the layers that read quantized tensors."""
    wants = (LayerRole.COMPUTE, LayerRole.MERGE)
    found = quantization_points(ModelGraph(take(model)), lambda node: node.spec.role in wants)
    return {consumer.layer for point in found for consumer in point.consumers}


#: Normalizations that are written with operators.
NORMALIZATIONS = {
    "by the root of the mean of squares": lambda x: x / tf.sqrt(tf.reduce_mean(x**2, -1, keepdims=True) + 1e-6),
    "by the product with an inverse root": lambda x: x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + 1e-6),
    "by mean and variance": lambda x: (lambda d: d / tf.sqrt(tf.reduce_mean(d * d, -1, keepdims=True) + 1e-6))(
        x - tf.reduce_mean(x, -1, keepdims=True)
    ),
    "by the sum of exponentials": lambda x: (lambda e: e / tf.reduce_sum(e, -1, keepdims=True))(
        tf.exp(x - tf.reduce_max(x, -1, keepdims=True))
    ),
    "by the sum of magnitudes": lambda x: x / tf.reduce_sum(tf.abs(x), -1, keepdims=True),
}


def attention(x, number, softmax):
    query, key, value = (layers.Dense(8, name=f"{kind}{number}")(x) for kind in ("query", "key", "value"))
    return layers.Dot(1, name=f"mix{number}")([softmax(layers.Dot(-1, name=f"product{number}")([query, key])), value])


def residual(normalize, softmax=tf.nn.softmax):
    """A model of two residual blocks with attention and pooling, and a normalization behind each."""
    x = image = keras.Input((6, 8), name="image")
    x = layers.Dense(8, name="stem")(x)
    for number in (1, 2):
        mixed = layers.Dense(8, name=f"out{number}")(attention(x, number, softmax))
        x = layers.Add(name=f"sum{number}")([x, mixed])
        body = layers.Dense(8, name=f"body{number}")(normalize(x))
        x = x + layers.AveragePooling1D(1, name=f"pool{number}")(layers.ReLU()(body))
    return keras.Model(image, layers.Dense(2, name="head")(normalize(x)))


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_a_normalization_written_with_operators_leaves_the_residual_stream_as_a_layer_does(name):
    expected = {one for one in readers(residual(layers.LayerNormalization())) if not one.startswith("tf.")}
    assert {"sum1", "sum2", "pool1", "pool2", "product1", "product2"} <= expected
    model = residual(NORMALIZATIONS[name])
    assert {one for one in readers(model) if not one.startswith("tf.")} == expected
    assert all(one.startswith("tf.") for one in in_floating_point(model))


def test_exponentials_of_a_product_of_trained_tensors_leave_the_product_as_a_layer_does():
    written = NORMALIZATIONS["by the sum of exponentials"]
    expected = {one for one in readers(residual(layers.LayerNormalization())) if not one.startswith("tf.")}
    found = {one for one in readers(residual(layers.LayerNormalization(), written)) if not one.startswith("tf.")}
    assert found == expected


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_the_operators_of_a_normalization_itself_stay_in_floating_point(name):
    x = keras.Input((6, 8))
    model = keras.Model(x, NORMALIZATIONS[name](layers.Dense(8, name="before")(x)))
    assert readers(model) <= {"before", *(layer.name for layer in model.layers[-1:])}


JOINS = {
    "a sum": lambda x: layers.Add(name="join")([layers.Dense(8)(x), layers.Dense(8)(x)]),
    "a sum of normalized tensors": lambda x: layers.Add(name="join")(
        [layers.BatchNormalization()(layers.Dense(8)(x)), layers.Dense(8)(x)]
    ),
    "a gate": lambda x: layers.Multiply(name="join")([layers.Dense(8)(x), tf.sigmoid(layers.Dense(8)(x))]),
    "a product": lambda x: layers.Dot(-1, name="join")([layers.Dense(8)(x), layers.Dense(8)(x)]),
    "a stream": lambda x: (lambda y: layers.Add(name="join")([tf.abs(y), layers.Dense(8)(y)]))(layers.Dense(8)(x)),
}


@pytest.mark.parametrize("join", JOINS)
def test_what_joins_trained_layers_is_quantized(join):
    x = keras.Input((6, 8))
    assert "join" in readers(keras.Model(x, tf.math.log(tf.abs(JOINS[join](x)) + 1e-3)))


PROCESSING = {
    "a power of two trained transforms": lambda x: (lambda a, b: layers.Add(name="join")([a * a, b * b]))(
        layers.Conv1D(8, 1)(x), layers.Conv1D(8, 1)(x)
    ),
    "a difference from a mean": lambda x: (lambda y: layers.Subtract(name="join")([y, 0.5 * y]))(layers.Dense(8)(x)),
    "a sum with the signal": lambda x: layers.Add(name="join")([x, tf.square(x)]),
    "a square": lambda x: (lambda y: layers.Multiply(name="join")([y, y]))(layers.Dense(8)(x)),
}


@pytest.mark.parametrize("processing", PROCESSING)
def test_signal_processing_behind_trained_layers_stays_in_floating_point(processing):
    x = keras.Input((6, 8))
    assert "join" not in readers(keras.Model(x, tf.math.log(tf.abs(PROCESSING[processing](x)) + 1e-3)))
