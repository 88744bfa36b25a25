"""Patches of images are right in every format: with an open batch, all paddings, and open sizes where they can be."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from tests.levels import levels

WINDOWS = [
    ((2, 2), (2, 2), 1, "VALID", (8, 8, 3)),
    ((3, 3), (1, 1), 1, "SAME", (8, 8, 3)),
    ((2, 3), (2, 3), 1, "VALID", (7, 10, 3)),
    ((3, 3), (2, 2), 1, "SAME", (7, 8, 2)),
    ((2, 2), (1, 1), 2, "VALID", (7, 8, 2)),
    ((4, 4), (4, 4), 1, "SAME", (10, 8, 3)),
    ((1, 1), (2, 2), 1, "VALID", (8, 8, 4)),
    ((2, 2), (2, 2), 1, "VALID", (None, None, 3)),
    ((3, 3), (2, 2), 1, "VALID", (None, None, 3)),
    ((3, 3), (1, 1), 1, "SAME", (None, None, 3)),
]


def patches(sizes, strides, rate, padding, shape, *, bare):
    x = keras.Input(shape)
    y = tf.image.extract_patches(x, [1, *sizes, 1], [1, *strides, 1], [1, rate, rate, 1], padding)
    return keras.Model(x, y if bare else keras.layers.Dense(4)(y))


@pytest.mark.parametrize("window", levels(WINDOWS, first=WINDOWS[:3]))
@pytest.mark.parametrize("suffix", [".pb", ".onnx", ".xml", ".tflite"])
def test_patches_are_those_of_keras(suffix, window, tmp_path):
    if suffix == ".tflite" and window[-1][0] is None:
        window = (*window[:-1], (8, 8, 3))
    shape = [9 if size is None else size for size in window[-1]]
    x = np.random.default_rng(1).normal(size=(6, *shape)).astype(np.float32)
    bare = patches(*window, bare=True)
    report = kc.export_model(bare, tmp_path / f"bare{suffix}", data=x)
    assert report.comparison.sqnr >= 140  # numbers are moved, none is computed
    quantized = kc.quantize(patches(*window, bare=False), x)
    report = kc.export_model(quantized, tmp_path / f"quantized{suffix}", data=x)
    assert report.problems == []
    assert report.comparison.sqnr >= (30 if suffix == ".tflite" else 60)
