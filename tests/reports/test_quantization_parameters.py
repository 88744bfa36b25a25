"""Integers, scales and zero points of a model, against its weights and against NumPy."""

import numpy as np
import pytest

from keras_compress import create_compressed_model, quantization_parameters
from keras_compress._keras import keras
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer
from tests import binary, zoo

SETTINGS = {
    "defaults": {},
    "four bits": {"weights": {"bits": 4}},
    "per tensor": {"weights": {"per_channel": False}},
    "asymmetric": {"weights": {"mode": "asymmetric"}},
    "half range": {"overflow_fix": "enable"},
}
SPARSE = {"algorithm": "magnitude_sparsity", "sparsity_init": 0.5, "params": {"sparsity_target": 0.5}}


def seen(model):
    """Return every compressed weight as inference sees it."""
    return {
        f"{path}/{weight}": layer.compressed_weight(weight).numpy()
        for path, layer in leaf_layers(model)
        if isinstance(layer, CompressedLayer)
        for weight in layer.weight_paths
    }


@zoo.every_kind
def test_every_quantized_weight_of_every_model_is_scale_times_integers(kind):
    _, model = zoo.compressed_once(kind)
    found, expected = quantization_parameters(model), seen(model)
    assert list(found) == list(expected)
    for name, integers in found.items():
        assert integers.values.shape == expected[name].shape
        by_hand = integers.scale * (integers.values.astype(np.float64) - integers.zero_point)
        np.testing.assert_allclose(by_hand, expected[name], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(integers.dequantize(), expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_kind_of_grid(settings):
    _, model = zoo.compress(zoo.convolution(), **SETTINGS[settings])
    found, expected = quantization_parameters(model), seen(model)
    for name, integers in found.items():
        np.testing.assert_allclose(integers.dequantize(), expected[name], rtol=1e-5, atol=1e-6)
        assert integers.num_bits == (4 if settings == "four bits" else 8)
        assert integers.values.dtype == (np.uint8 if settings == "asymmetric" else np.int8)
        assert integers.scale.dtype == np.float32
        assert integers.zero_point.dtype == np.int32
        if settings != "asymmetric":
            assert not integers.zero_point.any()


@pytest.mark.parametrize(("bits", "top"), [(2, 1), (4, 7), (8, 127)])
def test_the_greatest_weight_of_a_channel_is_the_greatest_integer(bits, top):
    model = zoo.convolution()
    kernel = model.get_layer("conv").kernel.numpy()
    integers = quantization_parameters(zoo.compress(model, weights={"bits": bits})[1])["conv/kernel"]
    scale = np.abs(kernel).max(axis=(0, 1, 2)) / top
    np.testing.assert_allclose(integers.scale.reshape(-1), scale, rtol=1e-5)
    np.testing.assert_array_equal(integers.values, np.round(kernel / integers.scale))
    np.testing.assert_array_equal(np.abs(integers.values).max(axis=(0, 1, 2)), top)


def test_names_are_paths_of_layer_and_weight():
    _, model = zoo.compress(zoo.nested())
    assert list(quantization_parameters(model)) == ["backbone/conv/kernel", "head/dense/kernel"]
    _, model = zoo.compress(zoo.recurrent())
    assert "rnn/cell.recurrent_kernel" in quantization_parameters(model)


def test_weights_left_in_floating_point_are_left_out():
    _, model = zoo.compress(zoo.residual(), ignored_scopes=["body"])
    assert list(quantization_parameters(model)) == ["stem/kernel", "out/kernel"]


def test_masks_are_applied_before():
    model = zoo.convolution()
    config = binary.configured(model, SPARSE, {"algorithm": "quantization"})
    _, compressed = create_compressed_model(model, config)
    found = quantization_parameters(compressed)
    assert list(found) == ["conv/kernel", "out/kernel"]
    for (layer, weight), (_, _, kept) in zoo.masked_weights(compressed).items():
        assert not found[f"{layer}/{weight}"].values[~kept].any()
    assert sum(np.sum(integers.values == 0) for integers in found.values()) >= sum(
        np.sum(~kept) for _, _, kept in zoo.masked_weights(compressed).values()
    )


def test_models_without_integers_have_none():
    assert quantization_parameters(zoo.residual()) == {}
    assert quantization_parameters(zoo.compress(zoo.residual(), "magnitude_sparsity", sparsity_init=0.5)[1]) == {}


def test_binary_weights_are_signs_of_one_bit():
    _, model = binary.compress(binary.one_convolution())
    [(name, integers)] = quantization_parameters(model).items()
    kernel = model.get_layer("conv").layer.kernel.numpy()
    assert (name, integers.num_bits) == ("conv/kernel", 1)
    np.testing.assert_array_equal(integers.values, np.where(kernel > 0, 1, -1))
    np.testing.assert_allclose(integers.dequantize(), binary.binary_weight(kernel, (0, 1, 2)), rtol=1e-5)


def test_a_model_from_a_file_has_the_same(tmp_path):
    _, model = zoo.compress(zoo.residual())
    model.save(tmp_path / "model.keras")
    again = quantization_parameters(keras.models.load_model(tmp_path / "model.keras", compile=False))
    for name, integers in quantization_parameters(model).items():
        np.testing.assert_array_equal(again[name].values, integers.values)
        np.testing.assert_array_equal(again[name].scale, integers.scale)


def test_the_model_is_only_read():
    _, model = zoo.compress(zoo.residual())
    before = [array.copy() for array in model.get_weights()]
    for integers in quantization_parameters(model).values():
        integers.values[...] = 0
    for array, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, old)
