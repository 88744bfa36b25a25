"""Weights of every layer class in TensorFlow Lite files: of one output channel, of a trained range, called several times."""

import warnings

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from tests import zoo

layers = keras.layers

#: Every layer class with weights, with a number of output channels and the shape of its input.
LAYERS = {
    "Dense": (lambda n: layers.Dense(n), (8,)),
    "Dense on rank 3": (lambda n: layers.Dense(n), (5, 8)),
    "EinsumDense": (lambda n: layers.EinsumDense("abc,cd->abd", (None, n)), (5, 4)),
    "Conv1D": (lambda n: layers.Conv1D(n, 3), (10, 4)),
    "Conv2D": (lambda n: layers.Conv2D(n, 3), (6, 6, 4)),
    "Conv3D": (lambda n: layers.Conv3D(n, 2), (4, 4, 4, 2)),
    "Conv1DTranspose": (lambda n: layers.Conv1DTranspose(n, 3), (8, 4)),
    "Conv2DTranspose": (lambda n: layers.Conv2DTranspose(n, 3, strides=2), (5, 5, 4)),
    "Conv3DTranspose": (lambda n: layers.Conv3DTranspose(n, 2), (3, 3, 3, 2)),
    "DepthwiseConv1D": (lambda n: layers.DepthwiseConv1D(3, depth_multiplier=n), (10, 1)),
    "DepthwiseConv2D": (lambda n: layers.DepthwiseConv2D(3, depth_multiplier=n), (6, 6, 1)),
    "SeparableConv1D": (lambda n: layers.SeparableConv1D(n, 3), (10, 1)),
    "SeparableConv2D": (lambda n: layers.SeparableConv2D(n, 3), (6, 6, 1)),
    "LocallyConnected1D": (lambda n: layers.LocallyConnected1D(n, 3), (6, 2)),
    "LocallyConnected2D": (lambda n: layers.LocallyConnected2D(n, 3), (5, 5, 2)),
    "SimpleRNN": (lambda n: layers.SimpleRNN(n), (5, 2)),
    "LSTM": (lambda n: layers.LSTM(n), (5, 2)),
    "GRU": (lambda n: layers.GRU(n), (5, 2)),
    "Bidirectional": (lambda n: layers.Bidirectional(layers.LSTM(n)), (5, 1)),
    "ConvLSTM1D": (lambda n: layers.ConvLSTM1D(n, 2), (4, 4, 1)),
    "TimeDistributed": (lambda n: layers.TimeDistributed(layers.Dense(n)), (5, 4)),
    "Grouped": (lambda n: layers.Conv2D(2 * n, 3, groups=2), (6, 6, 4)),
}


def samples(shape, count=16, seed=2):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def compressed(model, data, *, factor=1.0):
    """Return the quantized model, its ranges of weights as training may leave them: wider than the weights by ``factor``."""
    quantized = kc.quantize(model, data)
    for variable in quantized.variables:
        if "quantizer/scale" in variable.name and variable.shape.rank:
            variable.assign(variable * factor)
    return quantized


def one_layer(kind, channels):
    keras.utils.set_random_seed(7)
    make, shape = LAYERS[kind]
    model = keras.Sequential([keras.Input(shape), make(channels)])
    for weight in model.weights:
        if "bias" in weight.name:
            weight.assign(np.random.default_rng(1).normal(size=weight.shape) * 0.3)
    return model, samples(shape)


@pytest.mark.parametrize(("channels", "factor"), [(1, 1.0), (3, 1.07)], ids=["one channel", "trained range"])
@pytest.mark.parametrize("kind", LAYERS)
def test_every_layer_is_stored_on_its_grid(kind, channels, factor, tmp_path):
    model, data = one_layer(kind, channels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = kc.export_model(
            compressed(model, data, factor=factor), tmp_path / "model.tflite", calibration_data=data, data=data
        )
    assert report.problems == []
    assert {row.stored_as for row in report.weights} == {"int8"}
    assert report.comparison.sqnr >= 35


def dense():
    return layers.Dense(6, "relu"), (8,)


def convolution():
    return layers.Conv2D(4, 3), (6, 6, 3)


def convolution_in_one_dimension():
    return layers.Conv1D(4, 3), (8, 3)


def depthwise():
    return layers.DepthwiseConv2D(3), (6, 6, 3)


@pytest.mark.parametrize("calls", [2, 3])
@pytest.mark.parametrize("make", [dense, convolution, convolution_in_one_dimension, depthwise])
def test_a_layer_that_is_called_several_times_keeps_its_trained_grid(make, calls, tmp_path):
    keras.utils.set_random_seed(7)
    layer, shape = make()
    inputs = [keras.Input(shape) for _ in range(calls)]
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layers.Concatenate()([layer(x) for x in inputs]))))
    data = [samples(shape, seed=seed) for seed in range(calls)]
    report = kc.export_model(
        compressed(model, data, factor=1.07), tmp_path / "model.tflite", calibration_data=data, data=data
    )
    assert report.problems == []
    assert {row.runs_in_integers for row in report.weights} == {True}
    assert report.comparison.sqnr >= 35


@pytest.mark.extended
@pytest.mark.parametrize("kind", ["shared_layer", "nested", "odd_convolutions"])
def test_models_with_trained_ranges_keep_their_grids(kind, tmp_path):
    model = zoo.MODELS[kind]()
    data = zoo.samples(model, 16)
    quantized = compressed(model, data, factor=1.07)
    assert kc.export_model(quantized, tmp_path / "model.tflite", calibration_data=data).problems == []


@pytest.mark.extended
def test_weights_of_equal_integers_and_other_scales_are_told_apart(tmp_path):
    """A kernel of one row is one integer, 127 or -127, per channel, so two of them may be equal but for their scales."""
    model = keras.Sequential([keras.Input((5, 1)), layers.Bidirectional(layers.LSTM(1))])
    for weight, sign in zip(model.weights, np.resize([1.0, 1.0, 0.0], len(model.weights)), strict=True):
        numbers = np.arange(1, 5, dtype=np.float32) * (2.0 if "backward" in weight.name else 0.3) * sign
        weight.assign(np.reshape(numbers, weight.shape))
    data = samples((5, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = kc.quantize(model, data)
        report = kc.export_model(quantized, tmp_path / "model.tflite", calibration_data=data, data=data)
    assert report.problems == []
    assert report.comparison.sqnr >= 60
