"""Stripping leaves stock layers, the names the model had, weights on their grids and float activations."""

import numpy as np
import pytest

from keras_compress._keras import OPERATOR_LAYERS, keras
from keras_compress.graph import build, take
from keras_compress.graph.passes.strip import strip
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer, FakeQuantize, observed
from tests import zoo


def without_activation_quantizers(model):
    """Context in which the activation quantizers of ``model`` pass their inputs on."""
    return observed({}, [layer for _, layer in leaf_layers(model) if isinstance(layer, FakeQuantize)])


@zoo.every_kind
def test_stock_layers_are_left_that_predict_as_with_float_activations(kind):
    model = zoo.MODELS[kind]()
    _, compressed = zoo.compress(model, weights={"bits": 3})
    stripped = build(strip(take(compressed)))
    # A separable convolution stays split into the two convolutions it consists of.
    split = ["separable_depthwise"] if kind == "odd_convolutions" else []
    assert sorted(path for path, _ in leaf_layers(stripped)) == sorted(
        [*(path for path, _ in leaf_layers(model)), *split]
    )
    for _, layer in leaf_layers(stripped):
        assert type(layer).__module__.startswith("tf_keras.") or isinstance(layer, OPERATOR_LAYERS)
    assert stripped.output_names == model.output_names
    assert type(stripped) is type(model)
    inputs = zoo.samples(model)
    with without_activation_quantizers(compressed):
        zoo.assert_same_predictions(stripped, compressed, inputs, rtol=1e-5, atol=1e-5)
    assert np.abs(zoo.predict(stripped, inputs)[0] - zoo.predict(model, inputs)[0]).max() > 1e-3


@pytest.mark.parametrize("bits", [2, 4])
def test_weights_lie_on_their_grid(bits):
    _, compressed = zoo.compress(zoo.convolution(), weights={"bits": bits})
    kernel = build(strip(take(compressed))).get_layer("conv").kernel.numpy()
    for channel in range(kernel.shape[-1]):
        assert len(np.unique(kernel[..., channel])) <= 2**bits - 1


def test_a_plain_model_is_unchanged():
    model = zoo.residual()
    zoo.assert_same_predictions(build(strip(take(model))), model, zoo.samples(model))


def test_quantized_outputs_are_stripped_too():
    model = zoo.dicts()
    _, compressed = zoo.compress(model, quantize_outputs=True)
    stripped = build(strip(take(compressed)))
    assert set(stripped.output) == {"score", "rank"}
    assert [layer.name for layer in stripped.layers] == [layer.name for layer in model.layers]


def test_the_snapshot_stays_as_it_was():
    snapshot = take(zoo.compress(zoo.nested())[1])
    before = build(snapshot)
    strip(snapshot)
    zoo.assert_same_predictions(build(snapshot), before, zoo.samples(before))


def test_policy_and_trainable_come_back():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, dtype="mixed_float16", trainable=False, name="first"),
            keras.layers.Dense(2, name="second"),
        ]
    )
    stripped = build(strip(take(zoo.compress(model)[1])))
    assert stripped.get_layer("first").dtype_policy.name == "mixed_float16"
    assert [v.name for v in stripped.trainable_variables] == [v.name for v in model.trainable_variables]
    assert not any(isinstance(layer, CompressedLayer) for layer in stripped.layers)
