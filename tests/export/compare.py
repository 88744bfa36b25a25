"""What the tests of several formats share: how near the outputs of a file are to those of Keras, and models of one layer."""

import os

import numpy as np
import pytest

from keras_compress._keras import keras
from keras_compress.errors import ExportError
from tests import zoo


def decibels(expected, received):
    """Return the power of ``expected`` over that of the difference; of several outputs the worst."""
    ratios = []
    for one, other in zip(expected, received, strict=True):
        assert np.shape(one) == np.shape(other)
        assert np.ptp(one) > 0
        ratios.append(zoo.sqnr(one, other))
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


def assert_a_failed_export_keeps_the_old_file(path, options, monkeypatch):
    """Export to a file that exists, with wrong options or a function of ``os`` that refuses, and look at the folder."""
    controller, _ = zoo.compress(zoo.dense())
    path.write_bytes(b"old")

    def refuse(*_):
        raise OSError("no space left")

    if "refuse" in options:
        monkeypatch.setattr(os, options["refuse"], refuse)
        options = {}
    with pytest.raises(ExportError):
        controller.export_model(path, **options)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
