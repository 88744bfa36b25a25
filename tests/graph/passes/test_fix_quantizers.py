"""The model for runtimes: the same predictions with fixed quantizers, weights that lie on their grids already."""

import numpy as np
import pytest

from keras_compress._keras import keras
from keras_compress.graph import WrapWeight, apply_edits, build, take
from keras_compress.graph.passes.fix_quantizers import fix_quantizers
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import (
    BinaryActivation,
    CompressedLayer,
    FakeQuantize,
    FixedFakeQuantize,
    FixedThreshold,
    SymmetricFakeQuantize,
)
from tests import binary, zoo

SETTINGS = {
    "defaults": {},
    "mixed preset": {"preset": "mixed"},
    "few bits": {"weights": {"bits": 4}, "activations": {"bits": 5}},
    "one range per weight": {"weights": {"per_channel": False}},
    "one range per activation channel": {"activations": {"per_channel": True}},
    "asymmetric weights": {"weights": {"mode": "asymmetric", "bits": 6}},
    "half range": {"overflow_fix": "enable"},
    "quantized outputs": {"quantize_outputs": True},
}


def assert_fixed_equals(compressed):
    fixed = build(fix_quantizers(take(compressed)))
    zoo.assert_same_predictions(fixed, compressed, zoo.samples(compressed), rtol=1e-4, atol=1e-5)
    return fixed


@zoo.every_kind
def test_predictions_stay_for_every_kind_of_model(kind):
    fixed = assert_fixed_equals(zoo.compressed_once(kind)[1])
    assert not any(isinstance(layer, FakeQuantize) for _, layer in leaf_layers(fixed))


@pytest.mark.parametrize("settings", SETTINGS)
def test_predictions_stay_for_every_setting(settings):
    assert_fixed_equals(zoo.compress(zoo.convolution(), **SETTINGS[settings])[1])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_are_written_on_their_grid_and_get_a_quantizer_of_eight_bits(bits):
    _, compressed = zoo.compress(zoo.convolution(), weights={"bits": bits})
    wrapper, fixed = (model.get_layer("conv") for model in (compressed, build(fix_quantizers(take(compressed)))))
    (_, op), (_, fixed_op) = wrapper.operations[0], fixed.operations[0]
    assert isinstance(fixed, CompressedLayer)
    assert isinstance(fixed_op, FixedFakeQuantize)
    assert fixed_op.num_bits == 8
    np.testing.assert_allclose(fixed.kernel, wrapper.compressed_weight("kernel"), rtol=1e-6)
    np.testing.assert_allclose(fixed_op(fixed.kernel), fixed.kernel, rtol=1e-5, atol=1e-7)
    scale, _ = op.integer_range()
    np.testing.assert_allclose((fixed_op.high - fixed_op.low) / 254, scale.ravel(), rtol=1e-5)
    np.testing.assert_array_equal(fixed_op.low, -fixed_op.high)


@pytest.mark.parametrize("axes", [(-1,), (-2,), (0,), (-2, -1), (-1, -2), (0, 3), (2, 0)])
def test_predictions_stay_whatever_the_channel_axes_and_their_order(axes):
    model = keras.Sequential([keras.Input((5, 5, 2)), keras.layers.Conv2D(4, 3, name="conv")])
    description = keras.saving.serialize_keras_object(
        SymmetricFakeQuantize(4, narrow_range=True, channel_axes=axes, name="kernel_op")
    )
    compressed = build(apply_edits(take(model), [WrapWeight("conv", "kernel", description)]))
    (_, op), *_ = compressed.get_layer("conv").operations
    scales = np.random.default_rng(0).uniform(0.05, 0.3, op.scale.shape).astype(np.float32)
    op.set_range(-scales, scales)
    assert_fixed_equals(compressed)


def test_the_snapshot_stays_as_it_was():
    snapshot = take(zoo.compress(zoo.residual())[1])
    before = build(snapshot)
    fix_quantizers(snapshot)
    zoo.assert_same_predictions(build(snapshot), before, zoo.samples(before))


def test_a_channel_of_zeros_stays_zero():
    model = zoo.convolution()
    kernel = model.get_layer("conv").kernel
    values = kernel.numpy()
    values[..., 1] = 0.0
    kernel.assign(values)
    fixed = assert_fixed_equals(zoo.compress(model)[1])
    np.testing.assert_array_equal(fixed.get_layer("conv").kernel[..., 1], 0.0)


BINARY = {
    "all": {},
    "one magnitude": {"mode": "dorefa"},
    "no activations": {"params": {"activations_quant_start_epoch": 1}},
    "no weights": {"params": {"weights_quant_start_epoch": 1}},
    "nothing yet": {"at_once": False},
}


@pytest.mark.parametrize("settings", BINARY)
def test_predictions_of_a_binary_model_stay(settings):
    _, compressed = binary.compress(binary.residual(), **BINARY[settings])
    binary.scatter_levels(compressed)
    fixed = build(fix_quantizers(take(compressed)))
    zoo.assert_same_predictions(fixed, compressed, zoo.samples(compressed))
    assert not any(isinstance(layer, (BinaryActivation, CompressedLayer)) for _, layer in leaf_layers(fixed))
    thresholds = {path for path, layer in leaf_layers(fixed) if isinstance(layer, FixedThreshold)}
    assert thresholds == binary.switched_on(compressed) & set(binary.binary_activations(compressed))


def test_binary_weights_are_written_as_two_values():
    _, compressed = binary.compress(zoo.nested())
    fixed = build(fix_quantizers(take(compressed)))
    kernel = dict(leaf_layers(fixed))["backbone/conv"].kernel.numpy()
    weight = dict(leaf_layers(compressed))["backbone/conv"].layer.kernel.numpy()
    np.testing.assert_allclose(kernel, binary.binary_weight(weight, (0, 1, 2)), rtol=1e-5)


def test_binary_and_quantized_layers_are_fixed_side_by_side():
    _, compressed = binary.compress(binary.residual(), {"algorithm": "quantization"}, ignored_scopes=binary.BORDERS)
    fixed = assert_fixed_equals(compressed)
    kinds = [type(layer) for _, layer in leaf_layers(fixed)]
    assert kinds.count(FixedThreshold) == 4
    assert kinds.count(CompressedLayer) == 3
