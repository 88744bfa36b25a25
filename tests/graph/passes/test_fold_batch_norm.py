"""Folding leaves one operation where there were two: the same outputs, the same integers, the same names."""

import numpy as np
import pytest

from keras_compress._keras import keras
from keras_compress.graph import build, take
from keras_compress.graph.passes.fix_quantizers import fix_quantizers
from keras_compress.graph.passes.fold_batch_norm import fold_batch_norm
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer
from tests import zoo

layers = keras.layers

#: Only weights are quantized, so that no rounding of an activation hides a difference or makes one.
WEIGHTS_ONLY = {"activations": {"ignored_scopes": ["{re}.*"]}}


def scattered(model):
    """Give normalizations numbers that make a difference: a gamma of zero, some below it, some above."""
    generator = np.random.default_rng(3)
    for _, layer in leaf_layers(model):
        if isinstance(layer, layers.BatchNormalization):
            size = layer.moving_mean.shape[0]
            if layer.scale:
                layer.gamma.assign(np.resize(np.float32([-1.3, 0.7, 0.0, -0.4, 1.9]), size))
            if layer.center:
                layer.beta.assign(generator.normal(size=size))
            layer.moving_mean.assign(generator.normal(scale=0.3, size=size))
            layer.moving_variance.assign(generator.uniform(0.3, 2, size))
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(generator.normal(size=layer.bias.shape))
    return model


def pair(model, **settings):
    """Return the model for inference before and after folding."""
    scattered(model)
    values = {**WEIGHTS_ONLY, "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}}, **settings}
    _, compressed = zoo.compress(model, **values)
    snapshot = fix_quantizers(take(compressed))
    return build(snapshot), build(fold_batch_norm(snapshot))


def normalizations(model):
    return [path for path, layer in leaf_layers(model) if isinstance(layer, layers.BatchNormalization)]


def assert_same(before, after):
    inputs = zoo.samples(before)
    for expected, received in zip(zoo.predict(before, inputs), zoo.predict(after, inputs), strict=True):
        assert len(np.unique(expected)) > 3
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert [path for path, _ in leaf_layers(after)] == [path for path, _ in leaf_layers(before)]
    assert (after.input_names, after.output_names) == (before.input_names, before.output_names)


def assert_folded(model, **settings):
    before, after = pair(model, **settings)
    assert normalizations(before)
    assert normalizations(after) == []
    assert_same(before, after)
    return before, after


def assert_not_folded(model):
    before, after = pair(model)
    assert normalizations(after) == normalizations(before) != []
    assert_same(before, after)


def normalized(layer, shape, **options):
    """Functional: a layer and a normalization of what it makes."""
    x = keras.Input(shape, name="x")
    return keras.Model(x, layers.BatchNormalization(name="norm", **options)(layer(x)))


LAYERS = {
    "Conv1D": (lambda **o: layers.Conv1D(5, 3, name="layer", **o), (7, 3)),
    "Conv2D": (lambda **o: layers.Conv2D(5, 3, name="layer", **o), (6, 6, 3)),
    "Conv2D with strides": (lambda **o: layers.Conv2D(5, 3, 2, "same", name="layer", **o), (6, 6, 3)),
    "Conv2D in groups": (lambda **o: layers.Conv2D(6, 3, groups=2, name="layer", **o), (6, 6, 4)),
    "Conv3D": (lambda **o: layers.Conv3D(5, 2, name="layer", **o), (4, 4, 4, 3)),
    "Conv1DTranspose": (lambda **o: layers.Conv1DTranspose(5, 3, name="layer", **o), (6, 3)),
    "Conv2DTranspose": (lambda **o: layers.Conv2DTranspose(5, 3, 2, name="layer", **o), (4, 4, 3)),
    "Conv3DTranspose": (lambda **o: layers.Conv3DTranspose(5, 2, name="layer", **o), (3, 3, 3, 3)),
    "DepthwiseConv1D": (lambda **o: layers.DepthwiseConv1D(3, depth_multiplier=2, name="layer", **o), (7, 3)),
    "DepthwiseConv2D": (lambda **o: layers.DepthwiseConv2D(3, name="layer", **o), (6, 6, 5)),
    "DepthwiseConv2D twice": (lambda **o: layers.DepthwiseConv2D(3, depth_multiplier=2, name="layer", **o), (6, 6, 3)),
    "Dense": (lambda **o: layers.Dense(5, name="layer", **o), (4,)),
    "Dense of rank 3": (lambda **o: layers.Dense(5, name="layer", **o), (6, 4)),
}

SETTINGS = {
    "per channel": {},
    "per tensor": {"weights": {"per_channel": False}},
    "asymmetric": {"weights": {"mode": "asymmetric"}},
    "asymmetric per tensor": {"weights": {"mode": "asymmetric", "per_channel": False}},
    "few bits": {"weights": {"bits": 3}},
}


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_outputs_stay_for_every_kind_of_layer(kind, use_bias):
    make, shape = LAYERS[kind]
    _, after = assert_folded(normalized(make(use_bias=use_bias), shape))
    assert after.get_layer("layer").use_bias


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", ["Conv2D", "Conv2DTranspose", "DepthwiseConv2D twice", "Dense"])
def test_the_outputs_stay_for_every_quantizer(kind, settings):
    make, shape = LAYERS[kind]
    assert_folded(normalized(make(), shape), **SETTINGS[settings])


@pytest.mark.parametrize(
    "options", [{"scale": False}, {"center": False}, {"scale": False, "center": False}, {"epsilon": 0.1}]
)
@pytest.mark.parametrize("use_bias", [True, False])
def test_the_outputs_stay_whatever_the_normalization_has(options, use_bias):
    make, shape = LAYERS["Conv2D"]
    assert_folded(normalized(make(use_bias=use_bias), shape, **options))


@pytest.mark.parametrize("kind", ["Conv2D", "Conv2DTranspose", "DepthwiseConv2D twice", "Dense"])
def test_a_layer_without_operations_is_folded_too(kind):
    make, shape = LAYERS[kind]
    _, after = assert_folded(normalized(make(use_bias=False), shape), ignored_scopes=["layer"])
    assert not isinstance(after.get_layer("layer"), CompressedLayer)


@pytest.mark.parametrize("axis", [-1, 3])
def test_the_last_axis_may_be_named_either_way(axis):
    make, shape = LAYERS["Conv2D"]
    assert_folded(normalized(make(), shape, axis=axis))


def integers(layer):
    """Return a kernel as integers, from zero, by the grid of its quantizer, and the scales."""
    [(weight, op)] = layer.operations
    values = getattr(layer, weight).numpy()
    scale = (op.high.numpy() - op.low.numpy()) / (254 if op.narrow_range else 255)
    if scale.ndim:
        axes = [axis % values.ndim for axis in op.channel_axes]
        scale = scale.reshape([size if axis in axes else 1 for axis, size in enumerate(values.shape)])
    return np.round(values / scale), values / scale, scale


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", ["Conv1D", "Conv2D", "Conv2DTranspose", "DepthwiseConv2D twice", "Dense"])
def test_the_integers_stay_up_to_the_sign_of_the_factor(kind, settings):
    make, shape = LAYERS[kind]
    before, after = assert_folded(normalized(make(), shape), **SETTINGS[settings])
    old, _, old_scale = integers(before.get_layer("layer"))
    new, exact, new_scale = integers(after.get_layer("layer"))
    norm = before.get_layer("norm")
    factor = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    axes = {"Conv2DTranspose": (2,), "DepthwiseConv2D twice": (2, 3)}.get(kind, (old.ndim - 1,))
    factor = factor.reshape([size if axis in axes else 1 for axis, size in enumerate(old.shape)])
    np.testing.assert_array_equal(new, old * np.sign(factor))
    assert len(np.unique(new)) > 4
    np.testing.assert_allclose(exact, new, atol=2e-3)
    kept = np.where(factor == 0, 1, np.abs(factor))
    np.testing.assert_allclose(new_scale, np.broadcast_to(old_scale * kept, new_scale.shape), rtol=1e-4)


def test_the_names_and_bias_of_the_folded_layer_by_hand():
    before, after = assert_folded(normalized(layers.Conv2D(5, 3, name="layer"), (6, 6, 3)))
    gamma, beta, mean, variance = (array.astype(np.float64) for array in before.get_layer("norm").get_weights())
    factor = gamma / np.sqrt(variance + before.get_layer("norm").epsilon)
    bias = (before.get_layer("layer").bias.numpy() - mean) * factor + beta
    np.testing.assert_allclose(after.get_layer("layer").bias, bias, rtol=1e-5)
    np.testing.assert_allclose(after.get_layer("layer").kernel, before.get_layer("layer").kernel * factor, rtol=1e-5)
    assert isinstance(after.get_layer("norm"), layers.Activation)


@pytest.mark.parametrize("kind", ["convolution", "residual", "nested", "odd_convolutions"])
def test_the_outputs_of_whole_models_stay(kind):
    before, after = pair(zoo.MODELS[kind]())
    assert normalizations(after) == []
    assert_same(before, after)


def test_layers_of_nested_models_are_folded():
    before, after = assert_folded(zoo.nested())
    assert normalizations(before) == ["backbone/norm"]
    assert dict(leaf_layers(after))["backbone/conv"].use_bias


def test_the_last_layer_of_a_model_may_be_a_normalization():
    _, after = assert_folded(normalized(layers.Dense(5, name="layer"), (4,)))
    assert after.output_names == ["norm"]


def test_several_normalizations_behind_each_other_leave_one_less():
    x = keras.Input((6, 6, 3), name="x")
    first = layers.BatchNormalization(name="first")(layers.Conv2D(5, 3, name="conv")(x))
    before, after = pair(keras.Model(x, layers.BatchNormalization(name="second")(first)))
    assert normalizations(after) == ["second"]
    assert_same(before, after)


# Dense layers: of any rank


@pytest.mark.parametrize(
    "before",
    [
        lambda x: layers.Dropout(0.2)(layers.ReLU()(layers.Dense(7, name="hidden")(layers.GlobalMaxPooling1D()(x)))),
        lambda x: layers.UnitNormalization()(x),
        lambda x: layers.Masking()(x),
        lambda x: layers.LayerNormalization()(x),
        lambda x: layers.LSTM(3, return_sequences=True)(x),
        lambda x: layers.MultiHeadAttention(2, 3)(x, x),
        lambda x: layers.Add()([x, x]),
        lambda x: x * 2.0 + 1.0,
        lambda x: layers.Reshape((2, 3, 4))(x),
    ],
    ids=["known", "unit", "masked", "normalized", "recurrent", "attention", "sum", "operators", "of rank four"],
)
def test_a_dense_layer_behind_anything_is_folded(before):
    x = keras.Input((6, 4), name="x")
    assert_folded(keras.Model(x, layers.BatchNormalization(name="norm")(layers.Dense(5, name="layer")(before(x)))))


# What is not folded


def test_a_normalization_over_another_axis():
    assert_not_folded(normalized(layers.Conv2D(4, 3, name="layer"), (6, 6, 3), axis=1))
    assert_not_folded(normalized(layers.Conv2D(4, 3, name="layer"), (6, 6, 3), axis=2))
    assert_not_folded(normalized(layers.Dense(6, name="layer"), (6, 4), axis=1))


def test_a_normalization_over_two_axes():
    x = keras.Input((6, 6, 3), name="x")
    conv = layers.Conv2D(4, 3, name="layer")(x)
    model = keras.Model(x, layers.BatchNormalization(name="norm", axis=[-2, -1], fused=False)(conv))
    before, after = (lambda snapshot: (build(snapshot), build(fold_batch_norm(snapshot))))(take(model))
    assert normalizations(after) == ["norm"]
    assert_same(before, after)


def test_a_layer_with_an_activation_function():
    assert_not_folded(normalized(layers.Conv2D(4, 3, activation="relu", name="layer"), (6, 6, 3)))


def test_a_layer_that_is_called_twice():
    x = keras.Input((6, 6, 4), name="x")
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    assert_not_folded(keras.Model(x, layers.BatchNormalization(name="norm")(shared(layers.ReLU()(shared(x))))))


def test_a_layer_whose_output_is_read_twice():
    x = keras.Input((6, 6, 4), name="x")
    conv = layers.Conv2D(4, 3, name="layer")(x)
    assert_not_folded(keras.Model(x, layers.Add()([conv, layers.BatchNormalization(name="norm")(conv)])))


def test_a_layer_whose_output_is_an_output_of_the_model():
    x = keras.Input((6, 6, 4), name="x")
    conv = layers.Conv2D(4, 3, name="layer")(x)
    assert_not_folded(keras.Model(x, [conv, layers.BatchNormalization(name="norm")(conv)]))


def test_a_normalization_behind_two_convolutions_is_folded_into_both():
    x = keras.Input((6, 6, 4), name="x")
    norm = layers.BatchNormalization(name="norm")
    outputs = [norm(layers.Conv2D(4, 3, name=name)(x)) for name in ("left", "right")]
    assert_folded(keras.Model(x, outputs))


def test_a_normalization_that_also_reads_an_input():
    x = keras.Input((6, 6, 4), name="x")
    norm = layers.BatchNormalization(name="norm")
    assert_not_folded(keras.Model(x, [norm(layers.Conv2D(4, 3, name="conv")(x)), norm(x)]))


def test_a_normalization_behind_dropout_is_folded():
    x = keras.Input((6, 6, 4), name="x")
    hidden = layers.Dropout(0.5, name="drop")(layers.Conv2D(4, 3, name="conv")(x))
    assert_folded(keras.Model(x, layers.BatchNormalization(name="norm")(hidden)))


def test_a_normalization_behind_a_nested_model():
    inner = keras.Input((6, 6, 3), name="inner")
    backbone = keras.Model(inner, layers.Conv2D(4, 3, name="conv")(inner), name="backbone")
    x = keras.Input((6, 6, 3), name="x")
    assert_not_folded(keras.Model(x, layers.BatchNormalization(name="norm")(backbone(x))))


def test_a_normalization_in_front_of_a_convolution():
    x = keras.Input((6, 6, 3), name="x")
    assert_not_folded(keras.Model(x, layers.Conv2D(4, 3, name="conv")(layers.BatchNormalization(name="norm")(x))))


def test_a_layer_of_ones_own_that_has_the_name_of_a_convolution():
    class Conv2D(layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight("kernel", (input_shape[-1], 4))

        def call(self, inputs):
            return inputs @ self.kernel

    x = keras.Input((6, 6, 3), name="x")
    model = scattered(keras.Model(x, layers.BatchNormalization(name="norm")(Conv2D(name="own")(x))))
    after = build(fold_batch_norm(take(model)))
    assert normalizations(after) == ["norm"]
    assert_same(model, after)


def test_the_snapshot_stays_as_it_was():
    snapshot = fix_quantizers(take(zoo.compress(scattered(zoo.residual()))[1]))
    before = build(snapshot)
    fold_batch_norm(snapshot)
    zoo.assert_same_predictions(build(snapshot), before, zoo.samples(before))


def test_a_model_without_normalizations_stays_as_it_is():
    before, after = pair(zoo.dense())
    zoo.assert_same_predictions(after, before, zoo.samples(before))
