"""What the tests of several formats share: how near the outputs of a file are to those of Keras, and models of one layer."""

import numpy as np

from keras_compress._keras import keras


def decibels(expected, received):
    """Return the power of ``expected`` over that of the difference; of several outputs the worst."""
    ratios = []
    for one, other in zip(expected, received, strict=True):
        one, other = np.float64(one), np.float64(other)
        assert one.shape == other.shape
        assert np.ptp(one) > 0
        noise = np.mean((one - other) ** 2)
        ratios.append(np.inf if noise == 0 else 10 * np.log10(np.mean(one**2) / noise))
    return min(ratios)


def one_layer(layer, shape, *, gamma=None, dtype="float32"):
    """Functional: a layer called ``layer``, and behind it a batch normalization ``norm`` with the first of ``gamma``."""
    generator = np.random.default_rng(11)
    x = keras.Input(shape, dtype=dtype, name="x")
    y = layer(x)
    if gamma is None:
        return keras.Model(x, y)
    norm = keras.layers.BatchNormalization(name="norm")
    model = keras.Model(x, norm(y))
    channels = norm.gamma.shape[0]
    numbers = (generator.normal(size=channels), generator.normal(size=channels), generator.uniform(0.5, 2, channels))
    norm.set_weights([np.resize(gamma, channels), *numbers])
    return model


def folded_factor(norm):
    """Return what a batch normalization multiplies each channel by."""
    return norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
