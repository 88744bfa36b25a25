"""Channels are where the layers around a tensor have them; a range per channel is one for each of those."""

import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import ModelGraph, take
from keras_compress.graph.channel_axis import channel_axis
from keras_compress.graph.view import TensorRef

layers = keras.layers
CONFIG = {"compression": {"algorithm": "quantization", "activations": {"per_channel": True}}}
FIRST = {"data_format": "channels_first"}


def ranges(*stack):
    """Return the shape of the range of every activation quantizer."""
    with pytest.warns(UserWarning, match="no measured range"):
        _, model = kc.create_compressed_model(keras.Sequential(list(stack)), CONFIG)
    return [layer.range_variable_shape for layer in model.layers if hasattr(layer, "range_variable_shape")]


MODELS = {
    "convolutions": (
        [keras.Input((3, 9, 8)), layers.Conv2D(4, 3, **FIRST), layers.ReLU(), layers.Conv2D(5, 3, **FIRST)],
        [(1, 3, 1, 1), (1, 4, 1, 1)],
    ),
    "pooling between": (
        [keras.Input((3, 9, 8)), layers.MaxPooling2D(**FIRST), layers.ReLU(), layers.Conv2D(5, 3, **FIRST)],
        [(1, 3, 1, 1)],
    ),
    "one axis of positions": ([keras.Input((3, 9)), layers.Conv1D(4, 3, **FIRST)], [(1, 3, 1)]),
    "batch normalization": (
        [keras.Input((3, 9, 8)), layers.Conv2D(4, 3, **FIRST), layers.BatchNormalization(axis=1), layers.Conv2D(5, 3, **FIRST)],
        [(1, 3, 1, 1), (1, 4, 1, 1)],
    ),
    "flattened behind": (
        [keras.Input((3, 9, 8)), layers.Conv2D(4, 3, **FIRST), layers.ReLU(), layers.Flatten(), layers.Dense(2)],
        [(1, 3, 1, 1), (1, 4, 1, 1)],
    ),
    "pooled behind": (
        [keras.Input((3, 9, 8)), layers.Conv2D(4, 3, **FIRST), layers.GlobalAveragePooling2D(**FIRST), layers.Dense(2)],
        [(1, 3, 1, 1), (1, 4, 1, 1), (1, 4)],
    ),
    "channels last": ([keras.Input((9, 8, 3)), layers.Conv2D(4, 3), layers.ReLU(), layers.Conv2D(5, 3)], [(1, 1, 1, 3), (1, 1, 1, 4)]),
    "dense": ([keras.Input((5, 6)), layers.Dense(4, "relu"), layers.Dense(2)], [(1, 1, 6), (1, 1, 4)]),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_ranges_are_those_of_channels(name):
    stack, expected = MODELS[name]
    assert ranges(*stack) == expected


def to_channels_first(x):
    return tf.transpose(x, [0, 3, 1, 2])


class Mine(layers.Layer):
    def call(self, inputs):
        return to_channels_first(inputs)


def first(x):
    return layers.Conv2D(5, 3, **FIRST)(x)


#: What is put in front of a convolution with its channels first, the shape of the input, and the range between.
REARRANGED = {
    "transpose": (lambda x: to_channels_first(x), (9, 8, 3)),
    "transpose of version 1": (lambda x: tf.compat.v1.transpose(x, (0, 3, 1, 2)), (9, 8, 3)),
    "permute": (lambda x: layers.Permute((3, 1, 2))(x), (9, 8, 3)),
    "reshape": (lambda x: tf.reshape(x, (-1, 3, 9, 8)), (9, 24)),
    "a layer that reshapes": (lambda x: layers.Reshape((3, 9, 8))(x), (9, 24)),
    "expand_dims": (lambda x: tf.expand_dims(x, 1), (9, 8)),
    "a new axis": (lambda x: x[:, tf.newaxis], (9, 8)),
    "squeeze": (lambda x: tf.squeeze(x, 2), (3, 1, 9, 8)),
    "an index": (lambda x: x[:, :, 0], (3, 2, 9, 8)),
    "stack": (lambda x: tf.stack([x, x], 1), (9, 8)),
    "matrix_transpose": (lambda x: tf.linalg.matrix_transpose(x), (3, 9, 8)),
    "einsum": (lambda x: tf.einsum("bhwc->bchw", x), (9, 8, 3)),
    "einsum of two": (lambda x: tf.einsum("bhwc,bhwc->bchw", x, x), (9, 8, 3)),
    "a lambda": (lambda x: layers.Lambda(to_channels_first)(x), (9, 8, 3)),
    "a layer of another package": (lambda x: Mine()(x), (9, 8, 3)),
    "over time": (lambda x: layers.TimeDistributed(layers.Reshape((9, 8)))(x), (3, 72)),
}


@pytest.mark.parametrize("name", REARRANGED)
def test_nothing_is_known_behind_what_rearranges_axes(name):
    """The convolution behind it has its channels first, and the sum in front of it need not."""
    rearrange, shape = REARRANGED[name]
    inputs = keras.Input(shape, name="x")
    graph = ModelGraph(take(keras.Model(inputs, first(rearrange(layers.ReLU(name="relu")(inputs))))))
    tensor = TensorRef("relu", 0, 0)
    assert channel_axis(graph, [tensor], graph.consumers(tensor)) == -1


@pytest.mark.parametrize(
    "keep",
    [
        lambda x: x[:, :, ::2],
        lambda x: x[..., 1:],
        lambda x: tf.abs(x),
        lambda x: tf.nn.relu(x) * 2.0,
        lambda x: tf.concat([x, x], 1),
        lambda x: layers.Dropout(0.5)(x),
    ],
)
def test_what_keeps_axes_is_looked_through(keep):
    inputs = keras.Input((3, 9, 8), name="x")
    graph = ModelGraph(take(keras.Model(inputs, first(keep(layers.ReLU(name="relu")(inputs))))))
    tensor = TensorRef("relu", 0, 0)
    assert channel_axis(graph, [tensor], graph.consumers(tensor)) == 1


def test_a_range_per_channel_in_front_of_a_transposition_is_one_for_each_channel():
    inputs = keras.Input((3, 9, 8), name="x")
    transposed = tf.transpose(layers.ReLU()(layers.Conv2D(5, 3, **FIRST)(inputs)), [0, 2, 3, 1])
    with pytest.warns(UserWarning, match="no measured range"):
        _, model = kc.create_compressed_model(keras.Model(inputs, layers.Dense(2)(transposed)), CONFIG)
    found = [layer.range_variable_shape for layer in model.layers if hasattr(layer, "range_variable_shape")]
    assert found == [(1, 3, 1, 1), (1, 5, 1, 1)]
