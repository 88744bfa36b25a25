"""Adapted statistics are the mean of batch moments, computed here in NumPy; nothing else about the layer changes."""

import numpy as np
import pytest

from keras_compress import Dataset
from keras_compress._keras import keras
from keras_compress.calibration import adapt_batch_norm
from tests import zoo

layers = keras.layers
BATCH = 128


def after_input(shape=(4,), **options):
    """Return a model that normalizes its input, and the layer that does it."""
    layer = layers.BatchNormalization(name="norm", **options)
    return keras.Sequential([keras.Input(shape, name="x"), layer]), layer


def data(samples, shape=(4,), seed=0):
    return np.random.default_rng(seed).normal(3.0, 2.0, size=(samples, *shape)).astype(np.float32)


def moments(x, batches):
    """Mean over the batches of mean and variance over all but the last axis."""
    axes = tuple(range(x.ndim - 1))
    parts = [x[start:stop].astype(np.float64) for start, stop in batches]
    means, variances = [part.mean(axes) for part in parts], [part.var(axes) for part in parts]
    return np.mean(means, axis=0), np.mean(variances, axis=0)


@pytest.mark.parametrize(
    ("available", "wanted", "batches"),
    [
        (BATCH, BATCH, [(0, 128)]),
        (300, 2000, [(0, 128), (128, 256)]),
        (400, 256, [(0, 128), (128, 256)]),
        (50, 2000, [(0, 50)]),
        (400, 60, [(0, 60)]),
    ],
)
def test_statistics_are_the_mean_of_batch_moments(available, wanted, batches):
    model, layer = after_input()
    x = data(available)
    adapt_batch_norm(model, Dataset(x), wanted)
    mean, variance = moments(x, batches)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-4)


def test_statistics_of_images_are_those_of_all_positions():
    model, layer = after_input((5, 6, 3))
    x = data(BATCH, (5, 6, 3))
    adapt_batch_norm(model, Dataset(x), BATCH)
    mean, variance = moments(x, [(0, BATCH)])
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-3)


def test_batches_of_the_source_make_no_difference():
    x = data(300)
    results = []
    for source in (x, [x[:7], x[7:200], x[200:]]):
        model, layer = after_input()
        adapt_batch_norm(model, Dataset(iter(source) if isinstance(source, list) else source), 2000)
        results.append([layer.moving_mean.numpy(), layer.moving_variance.numpy()])
    np.testing.assert_array_equal(results[0], results[1])


def test_the_rest_of_the_layer_is_as_it_was():
    model, layer = after_input(momentum=0.87)
    gamma, beta = layer.gamma.numpy(), layer.beta.numpy()
    adapt_batch_norm(model, Dataset(data(BATCH)), BATCH)
    assert layer.momentum == 0.87
    assert "call" not in vars(layer)
    np.testing.assert_array_equal(layer.gamma, gamma)
    np.testing.assert_array_equal(layer.beta, beta)
    before = layer.moving_mean.numpy()
    x = data(8, seed=9)
    expected = (x - before) / np.sqrt(layer.moving_variance.numpy() + layer.epsilon)
    np.testing.assert_allclose(model(x, training=False), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, before)


def test_training_goes_on_with_the_momentum_of_the_layer():
    model, layer = after_input(momentum=0.75)
    adapt_batch_norm(model, Dataset(data(BATCH)), BATCH)
    before = layer.moving_mean.numpy()
    x = data(16, seed=5) + 10
    model(x, training=True)
    np.testing.assert_allclose(layer.moving_mean, 0.75 * before + 0.25 * x.mean(0), rtol=1e-4)


@pytest.mark.parametrize("freeze", ["layer", "model"])
def test_frozen_layers_are_left_alone(freeze):
    inner = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(name="frozen")], name="inner")
    model = keras.Sequential([keras.Input((4,)), inner, layers.BatchNormalization(name="free")])
    frozen = inner.get_layer("frozen")
    (frozen if freeze == "layer" else inner).trainable = False
    adapt_batch_norm(model, Dataset(data(BATCH)), BATCH)
    np.testing.assert_array_equal(frozen.moving_mean, 0.0)
    np.testing.assert_array_equal(frozen.moving_variance, 1.0)
    assert np.abs(model.get_layer("free").moving_mean.numpy()).min() > 0.5


def test_the_second_layer_sees_the_first_normalize_by_batch():
    model = keras.Sequential(
        [keras.Input((4,)), layers.BatchNormalization(), layers.Rescaling(2.0, 5.0), layers.BatchNormalization()]
    )
    adapt_batch_norm(model, Dataset(data(BATCH)), BATCH)
    np.testing.assert_allclose(model.layers[2].moving_mean, 5.0, rtol=1e-4)
    np.testing.assert_allclose(model.layers[2].moving_variance, 4.0, rtol=1e-2)


def test_no_samples_change_nothing():
    model, layer = after_input()
    adapt_batch_norm(model, Dataset(data(BATCH)), 0)
    np.testing.assert_array_equal(layer.moving_mean, 0.0)


def test_dropout_stays_off():
    model = keras.Sequential([keras.Input((4,)), layers.Dropout(0.9), layers.BatchNormalization(name="norm")])
    x = data(BATCH)
    adapt_batch_norm(model, Dataset(x), BATCH)
    np.testing.assert_allclose(model.get_layer("norm").moving_mean, x.mean(0), rtol=1e-5)


def test_an_error_in_the_data_leaves_the_layer_as_it_was():
    model, layer = after_input(momentum=0.9)

    def breaking():
        yield data(BATCH)
        raise KeyError("the user's own")

    with pytest.raises(KeyError, match="own"):
        adapt_batch_norm(model, Dataset(breaking), 2 * BATCH)
    assert layer.momentum == 0.9
    assert "call" not in vars(layer)


@pytest.mark.parametrize("make", [zoo.convolution, zoo.residual, zoo.nested])
def test_models_with_several_layers_are_adapted(make):
    model = make()
    before = [v.numpy() for v in model.variables if "moving" in v.name]
    adapt_batch_norm(model, Dataset(zoo.samples(model, 16)), 16)
    after = [v.numpy() for v in model.variables if "moving" in v.name]
    assert all(np.abs(one - other).max() > 0 for one, other in zip(before, after, strict=True))
    trained = [v.name for v in model.trainable_variables if "moving" in v.name]
    assert trained == []
