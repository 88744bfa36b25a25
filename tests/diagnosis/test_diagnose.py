"""A cause that is planted in a network is named with its layer, and the change that is proposed mends it."""

import json

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.calibration import adapt_batch_norm
from keras_compress.data import Dataset
from keras_compress.errors import ConfigError, UnsupportedModelError
from tests import zoo

layers = keras.layers
DATA = np.random.default_rng(0).uniform(0.0, 1.0, (200, 10, 10, 3)).astype("float32")


def network(head=lambda x: x, stem=lambda x: x, shape=(10, 10, 3)):
    keras.utils.set_random_seed(3)
    inputs = keras.Input(shape, name="pixels")
    x = layers.Conv2D(8, 3, name="first")(stem(inputs))
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(8, 3, activation="relu", name="second")(x)
    x = head(layers.GlobalAveragePooling2D(name="pooled")(x))
    model = keras.Model(inputs, layers.Dense(4, name="scores")(x))
    adapt_batch_norm(model, Dataset(DATA), len(DATA))
    return model


def quantization(**settings):
    return {"compression": {"algorithm": "quantization", **settings}}


def dead_range():
    fixed = {"relu": {"min": 0.0, "max": 0.02}}
    return network(), quantization(scope_overrides={"activations": fixed}), DATA, {"relu", "norm", "first"}


def wide_range():
    fixed = {"relu": {"min": 0.0, "max": 500.0}}
    return network(), quantization(scope_overrides={"activations": fixed}), DATA, {"relu", "norm", "first"}


def narrow_calibration():
    initializer = {"range": {"type": "percentile", "params": {"min_percentile": 20.0, "max_percentile": 60.0}}}
    overrides = {"activations": {"relu": {"initializer": initializer}}}
    return network(), quantization(scope_overrides=overrides), DATA, {"relu", "norm", "first"}


def other_data():
    return network(), kc.register_default_init_args(quantization(), DATA * 0.05), DATA, None


def input_columns_apart():
    scale = np.float32([1.0, 0.002, 1.0])
    convolution = layers.Conv2D(3, 1, use_bias=False, name="scale")
    model = network(stem=convolution)
    convolution.set_weights([np.diag(1 / scale).reshape(1, 1, 3, 3)])
    return model, quantization(), DATA * scale, {"pixels"}


def unbalanced_concatenation():
    def head(x):
        return layers.Concatenate(name="joined")([x, layers.Rescaling(1000.0, name="large")(x)])

    model = network(head)
    kernel, bias = model.get_layer("scores").get_weights()
    kernel[8:] *= 1e-6
    model.get_layer("scores").set_weights([kernel, bias])
    return model, quantization(), DATA, {"pooled", "large", "joined"}


def outlier_channel():
    model = network()
    kernel, bias = model.get_layer("first").get_weights()
    kernel[..., 2] *= 300
    model.get_layer("first").set_weights([kernel, bias])
    gamma, beta, mean, variance = model.get_layer("norm").get_weights()
    variance[2] *= 300**2
    model.get_layer("norm").set_weights([gamma, beta, mean, variance])
    return model, quantization(scope_overrides={"weights": {"first": {"per_channel": False}}}), DATA, {"first"}


def few_bits():
    return network(), quantization(scope_overrides={"weights": {"second": {"bits": 2}}}), DATA, {"second"}


def amplification():
    model = network(layers.Rescaling(1.0, offset=100.0, name="shifted"))
    kernel, bias = model.get_layer("scores").get_weights()
    model.get_layer("scores").set_weights([kernel, bias - 100.0 * kernel.sum(axis=0)])
    return model, quantization(), DATA, {"shifted", "pooled", "scores"}


PLANTED = {
    dead_range: "dead range",
    wide_range: "dead range",
    narrow_calibration: "narrow calibration",
    other_data: "narrow calibration",
    input_columns_apart: "input columns apart",
    unbalanced_concatenation: "unbalanced concatenation",
    outlier_channel: "outlier channel",
    few_bits: "few bits",
    amplification: "amplification downstream",
}


@pytest.mark.first
@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_cause_is_named_and_mended(plant):
    model, config, data, where = plant()
    before = [weight.copy() for weight in model.get_weights()]
    found = kc.diagnose(model, data, config=config)
    first = found.findings[0]
    assert first.cause == PLANTED[plant]
    assert where is None or first.layer in where
    assert first.share > 0.3
    assert first.after > first.before + 10
    assert found.mended >= first.after - 0.1
    for weight, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


@pytest.mark.parametrize("plant", [outlier_channel, narrow_calibration], ids=lambda plant: plant.__name__)
def test_the_proposed_configuration_compresses_as_was_measured(plant):
    model, config, data, _ = plant()
    found = kc.diagnose(model, data, config=config)
    _, compressed = kc.create_compressed_model(model, found.config)
    expected, received = model.predict(data[-50:], verbose=0), compressed.predict(data[-50:], verbose=0)
    ratio = 10 * np.log10(np.sum(expected**2) / np.sum((expected - received) ** 2))
    assert ratio > found.mended - 2.0  # corrections come on top


def test_causes_that_hide_each_other_are_found_one_by_one():
    dead = {name: {"min": 0.0, "max": 1e-4} for name in ("relu", "second")}
    found = kc.diagnose(network(), DATA, config=quantization(scope_overrides={"activations": dead}))
    assert {one.layer for one in found.findings[:2]} == {"relu", "second"}
    assert [one.cause for one in found.findings[:2]] == ["dead range", "dead range"]
    assert found.findings[0].alone
    assert found.findings[0].after > found.findings[0].before + 20
    assert found.sqnr < 3 < 30 < found.mended
    assert "alone" in str(found)


def test_nothing_stands_out_in_a_sound_network():
    found = kc.diagnose(network(), DATA)
    assert all(finding.after > finding.before + 0.5 for finding in found.findings)
    assert found.sqnr > 30


def test_without_measuring_no_change_is_tried_and_the_cause_is_the_same():
    model, config, data, where = outlier_channel()
    found = kc.diagnose(model, data, config=config, measure=False)
    assert (found.findings[0].layer in where, found.findings[0].cause) == (True, "outlier channel")
    assert (found.findings[0].share, found.findings[0].after, found.mended) == (None, None, None)
    assert found.findings[0].change == {"scope_overrides": {"weights": {"first": {"per_channel": True}}}}


def test_trouble_of_many_layers_is_mended_for_all():
    found = kc.diagnose(network(), DATA, config=kc.Quantization(weights=3))
    assert found.findings[0].change in (
        {"weights": {"bits": 8}},
        {"scope_overrides": {"weights": {found.findings[0].layer: {"bits": 8}}}},
    )
    assert found.mended > found.sqnr + 10


@pytest.mark.parametrize(
    "model",
    [zoo.dicts, zoo.recurrent, zoo.shared_layer, zoo.nested, zoo.two_outputs],
    ids=lambda make: make.__name__,
)
def test_models_of_other_forms(model):
    model = model()
    found = kc.diagnose(model, zoo.samples(model, 64), config=kc.Quantization(weights=2), most=2)
    assert found.mended >= found.sqnr


def test_other_algorithms_stay_in_the_configuration():
    config = [kc.MagnitudeSparsity(0.5), kc.Quantization(weights=2)]
    found = kc.diagnose(network(), DATA, config=config, most=1)
    assert [algorithm.name for algorithm in found.config.compression] == ["magnitude_sparsity", "quantization"]


def test_it_prints_and_is_saved(tmp_path):
    model, config, data, _ = outlier_channel()
    found = kc.diagnose(model, data, config=config, most=1)
    text = str(found)
    for part in ("outlier channel", '"per_channel": true', found.findings[0].reason):
        assert part in text
    values = json.loads(found.save(tmp_path / "found.json").read_text())
    assert values["findings"][0]["change"] == found.findings[0].change
    assert kc.CompressionConfig.from_dict(values["config"]) == found.config


def test_wrong_arguments():
    with pytest.raises(ConfigError, match=r"nothing to diagnose.*'magnitude_sparsity'"):
        kc.diagnose(network(), DATA, config=kc.MagnitudeSparsity(0.5))
    with pytest.raises(UnsupportedModelError, match="compressed"):
        kc.diagnose(kc.quantize(network(), DATA), DATA)
    with pytest.raises(ConfigError, match="samples"):
        kc.diagnose(network(), DATA, samples=0)
