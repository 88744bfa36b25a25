"""Channels of tiny weights keep their bias in files that compute in integers."""

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.frozen_graph import tensor_names
from keras_compress.export.registry import format_of
from keras_compress.graph import build, take
from keras_compress.graph.passes.fit_biases import LARGEST, fit_biases
from keras_compress.graph.passes.fix_quantizers import fix_quantizers
from tests import zoo

layers = keras.layers

LAYERS = {
    "Dense": (lambda: layers.Dense(4, name="layer"), (8,)),
    "Conv1D": (lambda: layers.Conv1D(4, 3, name="layer"), (8, 3)),
    "Conv2D": (lambda: layers.Conv2D(4, 3, name="layer"), (6, 6, 3)),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(3, name="layer"), (6, 6, 4)),
    "SeparableConv2D": (lambda: layers.SeparableConv2D(4, 3, name="layer"), (6, 6, 3)),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(4, 3, name="layer"), (6, 6, 3)),
}


def samples(shape, count=32):
    return np.random.default_rng(2).normal(size=(count, *shape)).astype(np.float32)


def with_tiny_channel(kind, size, bias=1.0):
    """Return a model whose first channel has weights times ``size`` and the bias ``bias``, and one that normalizes to it."""
    keras.utils.set_random_seed(3)
    make, shape = LAYERS[kind]
    model = keras.Sequential([keras.Input(shape), make()])
    *kernels, _ = model.get_weights()
    kernels = [kernel * np.float32(0.3) for kernel in kernels]
    if kind == "DepthwiseConv2D" or kind == "Conv2DTranspose":
        kernels[-1][:, :, 0] *= size
    else:
        kernels[-1][..., 0] *= size
    model.set_weights([*kernels, np.float32([bias, 0.2, -0.3, 0.4])])
    return model, samples(shape)


def with_tiny_gamma(size):
    keras.utils.set_random_seed(3)
    stack = [keras.Input((6, 6, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()]
    model = keras.Sequential(stack)
    model.layers[1].set_weights(
        [np.float32([size, 1, 0.5, -0.7]), np.float32([1, 0.5, 0.2, 0.1]), np.zeros(4), np.ones(4)]
    )
    return model, samples((6, 6, 3))


def per_channel(model, data, path):
    """Return signal to error of each channel of the output, in dB."""
    compressed = kc.quantize(model, data)
    assert kc.export_model(compressed, path, calibration_data=data).problems == []
    expected = np.asarray(compressed(data, training=False), np.float64)
    received = format_of(path).load(path, tensor_names(compressed), 0)([data])[0]
    axes = tuple(range(expected.ndim - 1))
    noise = np.maximum(np.mean((expected - received) ** 2, axis=axes), 1e-30)
    return 10 * np.log10(np.mean(expected**2, axis=axes) / noise)


@pytest.mark.parametrize("size", [1e-5, 1e-7, 1e-12, 0.0])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_channel_of_tiny_weights_keeps_its_bias_in_tensorflow_lite(kind, size, tmp_path):
    model, data = with_tiny_channel(kind, size)
    assert per_channel(model, data, tmp_path / "model.tflite").min() >= 37


@pytest.mark.parametrize("kind", ["Conv1D", "Conv2D", "DepthwiseConv2D"])
def test_a_channel_of_tiny_weights_keeps_its_bias_in_onnx(kind, tmp_path):
    model, data = with_tiny_channel(kind, 1e-7)
    assert per_channel(model, data, tmp_path / "model.onnx").min() >= 37


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
@pytest.mark.parametrize("size", [1e-5, 1e-7, -1e-9])
def test_so_does_one_that_a_normalization_makes_tiny(size, suffix, tmp_path):
    model, data = with_tiny_gamma(size)
    assert per_channel(model, data, tmp_path / f"model{suffix}").min() >= 37


def test_scales_are_raised_until_the_bias_fits_and_no_further():
    model, data = with_tiny_channel("Dense", 1e-7, bias=1000.0)
    before = fix_quantizers(take(kc.quantize(model, data)))
    after = fit_biases(before)
    old, new = (snapshot.weights["layer"]["weight_ops.0.high"] / 127 for snapshot in (before, after))
    [quantizer] = [arrays for path, arrays in before.weights.items() if path.endswith("_quantizer")]
    step = (quantizer["high"] - quantizer["low"]) / 255
    bias = before.weights["layer"]["layer.bias"]
    assert (np.abs(bias) / (step * new) <= LARGEST * 1.001).all()
    np.testing.assert_allclose(np.abs(bias[0]) / (step * new[0]), LARGEST, rtol=1e-3)
    np.testing.assert_array_equal(new[1:], old[1:])


@zoo.every_kind
def test_models_whose_biases_fit_stay_as_they_are(kind):
    before = fix_quantizers(take(zoo.compressed_once(kind)[1]))
    after = fit_biases(before)
    for path, arrays in before.weights.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(after.weights[path][name], array)
    build(after)
