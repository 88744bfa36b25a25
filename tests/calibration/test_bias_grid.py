"""Biases lie on the int32 grid of the runtimes that hold them so, and their files compute what the model computes."""

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.calibration.bias_grid import put_biases_on_grid
from tests import zoo

layers = keras.layers
DATA = np.random.default_rng(0).normal(size=(64, 9, 9, 3)).astype("float32")

LAYERS = {
    "convolution": lambda: [layers.Conv2D(6, 3, name="one")],
    "normalized": lambda: [layers.Conv2D(6, 3, use_bias=False, name="one"), layers.BatchNormalization(name="norm")],
    "both": lambda: [layers.Conv2D(6, 3, name="one"), layers.BatchNormalization(name="norm")],
    "no factor": lambda: [layers.Conv2D(6, 3, name="one"), layers.BatchNormalization(scale=False, name="norm")],
    "no shift": lambda: [layers.Conv2D(6, 3, name="one"), layers.BatchNormalization(center=False, name="norm")],
    "depthwise": lambda: [
        layers.DepthwiseConv2D(3, depth_multiplier=2, name="one"),
        layers.BatchNormalization(name="norm"),
    ],
    "transposed": lambda: [layers.Conv2DTranspose(6, 3, name="one")],
    "dense": lambda: [layers.Flatten(), layers.Dense(6, name="one")],
}


def network(kind, runtime="onnxruntime"):
    """Return a compressed model of a layer with random numbers, a ReLU and a pooling."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((9, 9, 3)), *LAYERS[kind](), layers.ReLU(), layers.Flatten(), layers.Dense(3)]
    )
    random = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, layers_with_statistics):
            layer.set_weights([random.uniform(0.5, 2.0, weight.shape) for weight in layer.get_weights()])
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(random.normal(size=layer.bias.shape))
    return kc.quantize(model, DATA, target_runtime=runtime)


layers_with_statistics = layers.BatchNormalization


def steps_of_bias(model):
    """Return the bias of the layer with its normalization folded in, in steps of the input's grid times the kernel's."""
    names = [layer.name for layer in model.layers]
    before = next(layer for layer in model.layers if layer.name.endswith("_quantizer"))
    one = model.get_layer("one")
    low, high = (float(end) for end in before.range())
    low_of_kernel, high_of_kernel = (np.asarray(end, np.float64).ravel() for end in one.operations[-1][1].range())
    steps = (high - low) / 255 * (high_of_kernel - low_of_kernel) / 254
    bias = np.zeros(steps.size) if one.layer.bias is None else one.layer.bias.numpy().astype(np.float64)
    if "norm" in names:
        norm = model.get_layer("norm")
        gamma = 1.0 if norm.gamma is None else norm.gamma.numpy().astype(np.float64)
        beta = 0.0 if norm.beta is None else norm.beta.numpy().astype(np.float64)
        factor = gamma / np.sqrt(norm.moving_variance.numpy().astype(np.float64) + norm.epsilon)
        bias = (bias - norm.moving_mean.numpy()) * factor + beta
        steps = steps * factor
    return bias / steps


@pytest.mark.parametrize("kind", LAYERS)
def test_biases_are_multiples_of_the_step(kind):
    steps = steps_of_bias(network(kind))
    np.testing.assert_allclose(steps, np.round(steps), atol=0.08)
    assert np.abs(steps).max() > 10


@pytest.mark.parametrize("kind", LAYERS)
def test_no_bias_moves_by_more_than_half_a_step(kind):
    model = network(kind, "openvino")
    before = steps_of_bias(model)
    assert np.abs(before - np.round(before)).max() > 0.1
    assert put_biases_on_grid(model) == 2
    after = steps_of_bias(model)
    assert np.abs(after - before).max() < 0.52
    weights = model.get_weights()
    assert put_biases_on_grid(model) == 2
    for weight, kept in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, kept)


@pytest.mark.parametrize(("runtime", "ending"), [("onnxruntime", ".onnx"), ("tflite", ".tflite")])
def test_a_file_computes_what_the_model_computes(runtime, ending, tmp_path):
    model = network("both", runtime)
    report = kc.export_model(model, tmp_path / f"model{ending}", data=DATA)
    model.get_layer("norm").moving_mean.assign_add(0.5 * np.ones(6, np.float32) * _step_of_bias(model))
    moved = kc.export_model(model, tmp_path / f"moved{ending}", data=DATA)
    assert report.comparison.sqnr > moved.comparison.sqnr + 3


def _step_of_bias(model):
    before = next(layer for layer in model.layers if layer.name.endswith("_quantizer"))
    low, high = (float(end) for end in before.range())
    low_of_kernel, high_of_kernel = (
        np.asarray(end).ravel() for end in model.get_layer("one").operations[-1][1].range()
    )
    return (high - low) / 255 * (high_of_kernel - low_of_kernel) / 254


@pytest.mark.parametrize(("runtime", "is_on_grid"), [("onnxruntime", True), ("tflite", True), ("openvino", False)])
def test_they_stay_on_the_grid_in_training(runtime, is_on_grid):
    model = keras.Sequential(
        [keras.Input((9, 9, 3)), *LAYERS["both"](), layers.ReLU(), layers.Flatten(), layers.Dense(3)]
    )
    model.compile(keras.optimizers.SGD(0.05), "mse")
    config = {"compression": {"algorithm": "quantization"}, "target_runtime": runtime}
    controller, compressed = kc.create_compressed_model(model, config, data=DATA)
    assert ["BiasGridCallback" in type(one).__name__ for one in kc.create_compression_callbacks(controller)].count(
        True
    ) == is_on_grid
    compressed.fit(DATA, np.ones((64, 3)), epochs=2, verbose=0, callbacks=kc.create_compression_callbacks(controller))
    steps = steps_of_bias(compressed)
    assert (np.abs(steps - np.round(steps)).max() < 0.08) == is_on_grid


def test_layers_in_floating_point_are_left_alone():
    model = zoo.convolution()
    config = {"compression": {"algorithm": "quantization", "activations": {"ignored_scopes": ["{re}.*"]}}}
    _, compressed = kc.create_compressed_model(model, config, data=zoo.samples(model, 16))
    before = [weight.copy() for weight in compressed.get_weights()]
    assert put_biases_on_grid(compressed) == 0
    for weight, kept in zip(compressed.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)
