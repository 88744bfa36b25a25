"""CalibratedModel: layers come back to floating point with the numbers they had, and nobody else's numbers change."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.algorithms.quantization import Quantization
from keras_compress.algorithms.quantizer_settings import GroupSettings, QuantizerInit
from keras_compress.calibration import AdaptiveRounding, BatchNormAdaptation
from keras_compress.config import CompressionConfig
from keras_compress.data import Dataset
from keras_compress.initialization import Corrections
from keras_compress.post_training.calibrated_model import calibrated
from keras_compress.post_training.quantized_layers import quantized_layers
from tests import zoo
from tests.post_training import models

layers = keras.layers
#: Statistics of random networks are not those of the data: what was asked for harms, and is done.
pytestmark = pytest.mark.filterwarnings("ignore:A correction that was asked for")
FAST = Corrections("fast")


def calibrate(
    model, corrections=FAST, samples=24, adaptation=0, ranges="mixed_min_max", equalize=False, shift=0, **settings
):
    initializer = QuantizerInit(
        range=[{"type": ranges, "num_init_samples": samples}],
        batchnorm_adaptation=BatchNormAdaptation(num_bn_adaptation_samples=adaptation),
    )
    config = CompressionConfig(compression=(Quantization(initializer=initializer, **settings),))
    data = Dataset(tf.nest.map_structure(lambda x: x + shift if shift else x, zoo.samples(model, samples, seed=4)))
    corrections = dataclasses.replace(corrections, samples=samples)
    return calibrated(model, config, data, corrections, equalize=equalize)


def plain(model, layer):
    """Return the numbers of a layer of the original."""
    return {name: value for (path, name), value in models.numbers(model).items() if path == layer}


CORRECTIONS = {
    "fast": FAST,
    "none": Corrections(bias=None),
    "sequential": Corrections(bias="sequential"),
    "rounded": Corrections(bias="fast", rounding=AdaptiveRounding(steps=5)),
}


@pytest.mark.parametrize("corrections", CORRECTIONS.values(), ids=CORRECTIONS)
def test_layers_that_return_have_their_weights_and_statistics_and_the_others_keep_their_numbers(corrections):
    model = zoo.residual()
    quantized = calibrate(model, corrections, weights=GroupSettings(bits=3))
    before = models.numbers(quantized.model)
    returned = quantized.without(["body"])
    assert set(models.wrapped(returned)) == {"stem", "out"}
    after = models.numbers(returned)
    for path in ("body", "body_norm"):
        for name, value in plain(model, path).items():
            np.testing.assert_array_equal(after[path, name], value)
    others = {key: value for key, value in after.items() if key[0] not in ("body", "body_norm")}
    models.assert_equal_numbers(others, {key: before[key] for key in others})
    corrected = [name for name in ("kernel", "bias") if np.any(before["body", f"layer.{name}"] != after["body", name])]
    assert corrected == (["kernel"] if corrections.rounding else ["bias"] if corrections.bias else [])
    models.assert_equal_numbers(models.numbers(quantized.model), before)


@pytest.mark.parametrize("kind", ["residual", "nested", "shared_layer", "odd_convolutions", "recurrent"])
def test_without_all_layers_the_original_is_computed_to_the_bit(kind):
    model = zoo.MODELS[kind]()
    quantized = calibrate(model, Corrections(bias="sequential"), adaptation=8)
    inputs = zoo.samples(model)
    everything = [layer.path for layer in quantized_layers(quantized.model)]
    returned = quantized.without(everything)
    assert quantized_layers(returned) == []
    assert returned is not model
    if kind == "odd_convolutions":  # a separable convolution stays two
        zoo.assert_same_predictions(returned, model, inputs, rtol=1e-5, atol=1e-5)
    else:
        zoo.assert_same_predictions(returned, model, inputs)


def test_statistics_adapted_for_a_quantized_layer_go_with_it():
    model = zoo.residual()
    quantized = calibrate(model, adaptation=16)
    returned = models.numbers(quantized.without(["stem"]))
    adapted = models.numbers(quantized.model)
    for name, value in plain(model, "stem_norm").items():
        np.testing.assert_array_equal(returned["stem_norm", name], value)
    assert np.any(adapted["stem_norm", "moving_variance"] != returned["stem_norm", "moving_variance"])
    np.testing.assert_array_equal(adapted["body_norm", "moving_mean"], returned["body_norm", "moving_mean"])


def fork():
    """Functional: two layers joined for one reader, and another reader of one of them alone."""
    x = keras.Input((4,), name="x")
    narrow = layers.Dense(4, "relu", name="narrow")(x)
    wide = layers.Dense(4, "relu", name="wide")(x)
    joined = layers.Dense(3, name="joined")(layers.Concatenate(name="join")([narrow, wide * 100.0]))
    return keras.Model(x, [joined, layers.Dense(2, name="single")(narrow)], name="fork_net")


@pytest.mark.parametrize("ranges", ["min_max", "mean_min_max"])
def test_a_quantizer_that_stands_for_fewer_tensors_is_measured_anew_and_in_the_same_way(ranges):
    model = fork()
    quantized = calibrate(model, Corrections(bias=None), ranges=ranges)
    shared = models.activation_quantizers(quantized.model)["narrow_quantizer"]
    returned = models.activation_quantizers(quantized.without(["joined"]))["narrow_quantizer"]
    seen = zoo.predict(keras.Model(model.input, model.get_layer("narrow").output), zoo.samples(model, 24, seed=4))[0]
    expected = seen.max() if ranges == "min_max" else seen.max(axis=1).mean()
    assert float(returned.scale) == pytest.approx(float(expected), rel=1e-5)
    assert float(shared.scale) > 10 * float(returned.scale)


def test_a_layer_whose_path_begins_like_another_stays_quantized():
    x = keras.Input((4,), name="x")
    made = layers.Dense(4, name="block/expand")(layers.Dense(4, name="block")(x))
    model = keras.Model(x, layers.Dense(2, name="block.out")(made))
    returned = calibrate(model).without(["block"])
    assert set(models.wrapped(returned)) == {"block/expand", "block.out"}
    assert set(models.wrapped(calibrate(model).without(["block.out"]))) == {"block", "block/expand"}


def test_the_uncorrected_model_has_the_same_ranges_and_the_weights_as_they_were():
    model = zoo.residual()
    quantized = calibrate(model, CORRECTIONS["rounded"], adaptation=16)
    uncorrected = quantized.uncorrected()
    models.assert_equal_numbers(models.quantizer_numbers(uncorrected), models.quantizer_numbers(quantized.model))
    found = models.numbers(uncorrected)
    for (path, name), value in models.numbers(model).items():
        np.testing.assert_array_equal(found.get((path, name), found.get((path, f"layer.{name}"))), value)


def test_equalized_channels_compute_the_same_when_all_layers_return():
    model = models.chain(bad=["d1"], length=3, convolutions=True)
    quantized = calibrate(model, equalize=True)
    assert np.abs(quantized.snapshot.weights["d0"]["kernel"] / model.get_layer("d0").kernel - 1).max() > 0.1
    returned = quantized.without([layer.path for layer in quantized_layers(quantized.model)])
    zoo.assert_same_predictions(returned, model, zoo.samples(model), rtol=1e-4, atol=1e-5)


def test_a_model_with_layers_in_float_is_compiled_and_named_as_the_original():
    model = zoo.two_outputs()
    model.compile("sgd", {"near": "mse", "far": "mae"})
    returned = calibrate(model).without(["far"])
    assert returned.output_names == model.output_names
    assert returned.loss == model.loss


def test_biases_are_corrected_by_what_the_quantized_weights_add_to_the_mean():
    model = zoo.dense()
    settings = {"weights": GroupSettings(bits=3), "shift": 2}
    quantized = calibrate(model, **settings)
    wrapper = models.wrapped(quantized.model)["hidden"]
    error = wrapper.compressed_weight("kernel").numpy() - model.get_layer("hidden").kernel.numpy()
    expected = (
        model.get_layer("hidden").bias.numpy() - (zoo.samples(model, 24, seed=4)[:18].mean(axis=0) + 2) @ error
    )  # 6 judge
    np.testing.assert_allclose(wrapper.layer.bias.numpy(), expected, rtol=1e-4, atol=1e-6)
    uncorrected = models.wrapped(calibrate(model, Corrections(bias=None), **settings).model)["hidden"]
    np.testing.assert_array_equal(uncorrected.layer.bias, model.get_layer("hidden").bias)
    assert np.abs(expected - model.get_layer("hidden").bias.numpy()).max() > 1e-3


def test_a_model_of_a_strategy_stays_in_it():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        model = zoo.dense()
    inputs = zoo.samples(model, 16)
    quantized = kc.quantize(model, inputs)
    assert quantized.distribute_strategy is strategy
    report = kc.analyze(model, inputs, samples=16)
    assert {row.layer for row in report.rows} == {"hidden", "out"}
