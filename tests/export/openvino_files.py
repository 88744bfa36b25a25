"""What tests of files in OpenVINO share: a model is quantized, written, and run there with an open batch."""

import numpy as np
import openvino

import keras_compress as kc
from keras_compress._keras import keras
from tests import zoo
from tests.export.compare import decibels

#: Numbers of both signs, of other sizes than one.
FACTORS = np.array([0.5, -2, 1.5, -0.3, -1, 0.7, 1, -1], np.float32)


def samples(shape, count=16, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def quantized(make, shape, **options):
    """Return the quantized model of a function of its input, every weight of it a normal number."""
    keras.utils.set_random_seed(1)
    x = keras.Input(shape)
    model = keras.Model(x, make(x))
    generator = np.random.default_rng(4)
    for variable in model.trainable_variables:
        variable.assign(generator.normal(0, 0.5, variable.shape))
    return kc.quantize(model, samples(shape), **options)


def run(path, x):
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled({0: x})
    return [results[port] for port in compiled.outputs]


def assert_right_in_openvino(compressed, shape, path, least, **options):
    """Write a model and see that OpenVINO computes from the file what Keras computes, at least so many decibels near.

    Twice, because what a kernel reads where nothing was written may happen to be right.
    """
    x = samples(shape)
    expected = zoo.predict(compressed, x)
    report = kc.export_model(compressed, path, **options)
    for _ in range(2):
        assert decibels(expected, run(path, x)) >= least
    return report


#: Where a quantizer of the file rounds what Keras does not, as that of an output, it is the noise of 8 bits.
LEAST = {".xml": 60, ".onnx": 28, ".pb": 60}
