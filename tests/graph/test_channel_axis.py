"""Channels are where the layers around a tensor have them; a range per channel is one for each of those."""

import pytest

import keras_compress as kc
from keras_compress._keras import keras

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
