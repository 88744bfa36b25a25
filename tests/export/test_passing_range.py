"""Ranges that only a file needs: they clip nothing that the quantizers behind them let through, and hold nothing else."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.inference_model import with_quantized_outputs
from keras_compress.layers import FakeQuantize
from tests.levels import levels

layers = keras.layers
SAMPLES = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
SAMPLES[::50] *= 6
INITIALIZERS = {
    "percentile": {"type": "percentile", "params": {"min_percentile": 5, "max_percentile": 95}},
    "mean_percentile": {"type": "mean_percentile", "params": {"min_percentile": 10, "max_percentile": 90}},
    "mean_min_max": {"type": "mean_min_max"},
    "threesigma": {"type": "threesigma"},
    "min_max": {"type": "min_max"},
}
ACTIVATIONS = {
    **{name: name for name in ("swish", "leaky_relu", "elu", "gelu", "tanh", "sigmoid", "softplus", "selu")},
    "LeakyReLU": layers.LeakyReLU(0.2),
    "ELU": layers.ELU(),
    "PReLU": layers.PReLU(alpha_initializer="random_uniform"),
    "tf.tanh": tf.tanh,
    "tf.sigmoid": tf.sigmoid,
    "a function": lambda x: x * tf.sigmoid(1.5 * x),
}


def compressed(activation, initializer):
    keras.utils.set_random_seed(0)
    x = keras.Input((8,))
    hidden = layers.Dense(16, name="hidden")(x)
    function = ACTIVATIONS[activation]
    made = layers.Activation(function, name="made")(hidden) if isinstance(function, str) else function(hidden)
    settings = {**INITIALIZERS[initializer], "num_init_samples": 300}
    config = {"compression": {"algorithm": "quantization", "initializer": {"range": settings}}}
    model = keras.Model(x, layers.Dense(4)(made))
    return kc.create_compressed_model(model, kc.register_default_init_args(config, SAMPLES))[1]


@pytest.mark.parametrize("initializer", levels(INITIALIZERS, first=["percentile"]))
@pytest.mark.parametrize("activation", levels(ACTIVATIONS, first=["swish", "LeakyReLU", "a function"]))
def test_the_quantizers_behind_see_what_they_see_in_the_model(activation, initializer):
    model = compressed(activation, initializer)
    complete = with_quantized_outputs(model, SAMPLES)
    added = [name for name in [layer.name for layer in complete.layers] if "output_quantizer" in name]
    [behind] = [layer for layer in model.layers if isinstance(layer, FakeQuantize) and "input" not in layer.name]
    [name] = [name for name in added if name.startswith("hidden")]

    def read(model):
        return keras.Model(model.inputs, model.get_layer(behind.name).output)(SAMPLES, training=False).numpy()

    step = float(complete.get_layer(name).range()[1] - complete.get_layer(name).range()[0]) / 255
    slope = 1.2  # of the steepest of these functions; half a step of the grid before, and half a step of the one behind on both sides
    grid = float(behind.range()[1] - behind.range()[0]) / 255
    assert np.abs(read(model) - read(complete)).max() <= slope * step / 2 + grid + 1e-5


@pytest.mark.first
@pytest.mark.parametrize("initializer", levels(INITIALIZERS, first=["mean_min_max"]))
@pytest.mark.parametrize("activation", levels(["swish", "LeakyReLU", "tanh", "gelu"], first=["swish"]))
def test_a_file_departs_by_few_steps(activation, initializer, tmp_path):
    report = kc.export_model(compressed(activation, initializer), tmp_path / "model.tflite", data=SAMPLES)
    assert report.comparison.steps < 3  # a step of the hidden values is about one of the outputs
    assert report.problems == []


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "swish"])
def test_where_nothing_changes_any_more_behind_there_are_no_levels(activation):
    model = compressed(activation, "min_max")
    complete = with_quantized_outputs(model, SAMPLES)
    [quantizer] = [layer for layer in complete.layers if layer.name.startswith("hidden_output_quantizer")]
    low = float(quantizer.range()[0])
    assert low > -8


def test_what_something_else_reads_keeps_its_range():
    keras.utils.set_random_seed(0)
    x = keras.Input((8,))
    hidden = layers.Dense(16, name="hidden")(x)
    made = layers.Activation("tanh")(hidden)
    model = keras.Model(x, [layers.Dense(4)(made), tf.exp(hidden * 0.1)])
    compressed = kc.quantize(model, SAMPLES)
    complete = with_quantized_outputs(compressed, SAMPLES)
    [quantizer] = [layer for layer in complete.layers if layer.name.startswith("hidden_output_quantizer")]
    expected = keras.Model(compressed.inputs, compressed.get_layer("hidden").output)(SAMPLES, training=False).numpy()
    low, high = (float(end) for end in quantizer.range())
    assert low <= expected[:256].min() + 0.05
    assert high >= expected[:256].max() - 0.05
