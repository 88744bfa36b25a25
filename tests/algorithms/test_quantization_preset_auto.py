"""With the preset ``auto`` the data decide for each activation whether its range is symmetric around zero."""

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.calibration.range_measurement import symmetric_unless_finer
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import AsymmetricFakeQuantize, FakeQuantize, SymmetricFakeQuantize
from tests import zoo

layers = keras.layers


def activations(model):
    return {path: layer for path, layer in leaf_layers(model) if isinstance(layer, FakeQuantize)}


def made(low, high, preset="auto", **settings):
    """Return what quantizes an input with values between two ends, behind a model of two layers."""
    stack = [keras.Input((4,), name="x"), layers.Dense(4, "relu", name="a"), layers.Dense(2, name="b")]
    data = np.random.default_rng(0).uniform(low, high, (64, 4)).astype(np.float32)
    data[0] = low
    data[1] = high
    values = {"compression": {"algorithm": "quantization", "preset": preset, **settings}}
    controller, compressed = kc.create_compressed_model(
        keras.Sequential(stack), kc.register_default_init_args(values, data)
    )
    return controller, activations(compressed)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-1.0, 1.0, (-1.0, 1.0)),
        (-0.9, 1.0, (-1.0, 1.0)),
        (-0.77, 1.0, (-0.77, 1.0)),  # 1.77 * 9 / 8 < 2
        (-8.0, 0.5, (-8.0, 0.5)),
        (-80.0, -5.0, (-80.0, 0.0)),
        (3.0, 5.0, (0.0, 5.0)),
        (0.0, 0.0, (0.0, 0.0)),
    ],
)
def test_a_range_is_symmetric_unless_its_own_ends_are_finer(low, high, expected):
    assert symmetric_unless_finer(np.float64(low), np.float64(high)) == expected


@pytest.mark.parametrize(("low", "high", "counted"), [(-1.0, 1.0, 0), (-8.0, 0.5, 1), (0.0, 255.0, 0)])
def test_ranges_follow_the_data_and_are_counted(low, high, counted):
    controller, quantizers = made(low, high)
    found = quantizers["x_quantizer"]
    assert isinstance(found, AsymmetricFakeQuantize)
    expected = [float(end) for end in symmetric_unless_finer(np.float64(low), np.float64(high))]
    assert [float(found.range_min), float(found.range_max)] == pytest.approx(expected)
    assert controller.algorithm_statistics()["quantization"]["asymmetric_activations"] == counted


def test_what_is_never_negative_starts_at_zero_as_ever():
    found = made(-8.0, 0.5)[1]["a_quantizer"]
    assert isinstance(found, SymmetricFakeQuantize)
    assert float(found.range()[0]) == 0


def test_a_mode_that_the_user_chose_is_kept():
    assert isinstance(made(-8.0, 0.5, activations={"mode": "symmetric"})[1]["x_quantizer"], SymmetricFakeQuantize)
    chosen = made(-0.9, 1.0, activations={"mode": "asymmetric"})[1]["x_quantizer"]
    assert float(chosen.range_min) == pytest.approx(-0.9)
    plain = made(-0.9, 1.0, preset="mixed")[1]["x_quantizer"]
    assert float(plain.range_min) == pytest.approx(-0.9)


def test_an_input_on_one_side_gains_what_a_zero_point_is_worth():
    data = np.random.default_rng(1).uniform(-80, 0, (500, 4)).astype(np.float32)
    symmetric, chosen = (
        zoo.sqnr(data, made(-80.0, 0.0, preset=preset)[1]["x_quantizer"](data)) for preset in ("performance", "auto")
    )
    assert chosen > symmetric + 5.5
