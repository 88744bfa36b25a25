"""Statistics that were never trained are found and measured; those of a trained network stay to the last bit."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import Dataset, create_compressed_model, register_default_init_args
from keras_compress._keras import keras
from keras_compress.calibration import measure_untrained_statistics, put_back_statistics

layers = keras.layers
IMAGES = np.random.default_rng(0).uniform(0, 4, (256, 8, 8, 3)).astype(np.float32)


def network(momentum=0.99, gamma="ones", depth=3, trainable=True):
    stack = [keras.Input((8, 8, 3), name="image")]
    for index in range(depth):
        norm = layers.BatchNormalization(momentum=momentum, gamma_initializer=gamma, name=f"norm{index}")
        norm.trainable = trainable
        stack += [layers.Conv2D(8, 3, padding="same", name=f"conv{index}"), norm, layers.ReLU(name=f"relu{index}")]
    return keras.Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(3, name="out")])


def norms(model):
    return [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


def statistics(model):
    return [array.numpy() for layer in norms(model) for array in (layer.moving_mean, layer.moving_variance)]


def trained(model, steps, images=IMAGES):
    """Run a model as in training for a number of steps."""
    for step in range(steps):
        start = step * 32 % len(images)
        model(images[start : start + 32], training=True)
    return model


def names(found):
    return [layer.name for layer in found]


def test_statistics_can_be_put_back():
    model = network()
    before = statistics(model)
    put_back_statistics(measure_untrained_statistics(model, Dataset(IMAGES), 256))
    assert all(np.array_equal(old, new) for old, new in zip(before, statistics(model), strict=True))


def measured(model, data=IMAGES):
    before = statistics(model)
    found = measure_untrained_statistics(model, Dataset(data), len(data))
    unchanged = all(np.array_equal(old, new) for old, new in zip(before, statistics(model), strict=True))
    assert unchanged == (not found)
    return names(found)


def test_statistics_of_a_new_network_are_those_of_training():
    model = network()
    assert measured(model) == ["norm0", "norm1", "norm2"]
    for layer in norms(model):
        inputs = keras.Model(model.inputs, layer.input)
        with_batch_statistics = keras.Model(model.inputs, layer.output)
        found = with_batch_statistics(IMAGES, training=False)
        assert np.abs(tf.reduce_mean(found, [0, 1, 2])).max() < 0.05, layer.name
        assert np.abs(tf.math.reduce_std(found, [0, 1, 2]) - 1).max() < 0.1, layer.name
        assert inputs.output.shape == layer.output.shape


def test_a_new_part_of_a_trained_network_is_measured_and_the_rest_stays():
    model = trained(network(momentum=0.5), 40)
    last = norms(model)[-1]
    last.moving_mean.assign(tf.zeros(8))
    last.moving_variance.assign(tf.ones(8))
    kept = statistics(model)[:4]
    assert names(measure_untrained_statistics(model, Dataset(IMAGES), 256)) == ["norm2"]
    assert all(np.array_equal(old, new) for old, new in zip(kept, statistics(model), strict=False))
    assert last.moving_mean.numpy().any()


@pytest.mark.parametrize("steps", [1, 5])
def test_a_network_that_has_hardly_begun_is_measured(steps):
    assert measured(trained(network(), steps, IMAGES * 3), IMAGES * 3) == ["norm0", "norm1", "norm2"]


@pytest.mark.parametrize("scale", [1, 255, 1 / 255], ids=["as in training", "too large", "too small"])
def test_a_trained_network_stays_whatever_the_data(scale):
    normal = ((IMAGES - 2) / 1.15).astype(np.float32)
    for images in (IMAGES, normal):
        model = trained(network(momentum=0.5), 40, images)
        assert measured(model, (images * scale).astype(np.float32)) == []


def test_frozen_layers_and_those_that_were_folded_stay():
    assert measured(network(trainable=False)) == []
    assert measured(network(gamma=keras.initializers.RandomUniform(0.5, 2.0, seed=1))) == []
    assert measured(keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3)])) == []


def test_ranges_of_a_new_network_are_those_of_training():
    model = network()
    config = register_default_init_args({"compression": {"algorithm": "quantization"}}, IMAGES)
    controller, compressed = create_compressed_model(model, config)
    assert all(not array.any() for array in statistics(model)[::2])  # of the user's model
    in_training = keras.Model(model.inputs, [model.get_layer(f"relu{index}").output for index in range(3)])
    for index, outputs in enumerate(in_training(IMAGES, training=True)):
        quantizer = compressed.get_layer(f"relu{index}_quantizer")
        high = float(quantizer.range()[1])
        assert 0.5 < high / float(tf.reduce_max(outputs)) < 2, index
    assert "statistics of 3 batch normalizations that were never trained" in str(controller.statistics())
