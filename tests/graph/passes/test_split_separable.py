"""A separable convolution split in two gives the same outputs, and edges to and from it stay."""

import pytest

from keras_compress._keras import keras
from keras_compress.graph import build, take
from keras_compress.graph.passes.split_separable import split_separable
from tests import zoo

layers = keras.layers


def split(model, allowed=lambda path: True):
    return build(split_separable(take(model), allowed))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.SeparableConv2D(4, 3, name="separable"), (7, 7, 3)),
        (layers.SeparableConv2D(4, 3, strides=2, padding="same", depth_multiplier=2, name="separable"), (7, 7, 3)),
        (layers.SeparableConv2D(4, 3, dilation_rate=2, use_bias=False, name="separable"), (7, 7, 3)),
        (layers.SeparableConv2D(4, (3, 2), activation="relu", bias_initializer="ones", name="separable"), (7, 7, 3)),
        (layers.SeparableConv1D(4, 3, name="separable"), (9, 3)),
    ],
)
@pytest.mark.parametrize("functional", [False, True])
def test_outputs_are_the_same(layer, shape, functional):
    layer = type(layer).from_config(layer.get_config())
    model = keras.Sequential([keras.Input(shape, name="x"), layer])
    if functional:
        x = keras.Input(shape, name="x")
        model = keras.Model(x, layers.ReLU()(layer(x)))
    zoo.assert_same_predictions(split(model), model, zoo.samples(model), rtol=1e-5, atol=1e-5)
    assert "separable_depthwise" in [layer.name for layer in split(model).layers]


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("options", [{}, {"dilation_rate": 3}, {"strides": 2}, {"depth_multiplier": 2}])
def test_causal_padding_becomes_a_layer(options, calls):
    layer = layers.SeparableConv1D(3, 4, padding="causal", name="separable", **options)
    x = keras.Input((12, 3), name="x")
    y = layer(x)
    model = keras.Model(x, layer(layers.ReLU()(y)) if calls == 2 else y)
    zoo.assert_same_predictions(split(model), model, zoo.samples(model), rtol=1e-5, atol=1e-5)
    names = [layer.name for layer in split(model).layers]
    assert {"separable_padding", "separable_depthwise", "separable"} <= set(names)
    sequential = keras.Sequential([keras.Input((12, 3)), type(layer).from_config(layer.get_config())])
    zoo.assert_same_predictions(split(sequential), sequential, zoo.samples(sequential), rtol=1e-5, atol=1e-5)


def test_a_shared_layer_is_split_for_each_call():
    shared = layers.SeparableConv2D(3, 3, padding="same", name="separable")
    x = keras.Input((6, 6, 3), name="x")
    model = keras.Model(x, layers.Add()([shared(x), shared(layers.ReLU()(shared(x)))]))
    zoo.assert_same_predictions(split(model), model, zoo.samples(model), rtol=1e-5, atol=1e-5)


def test_nested_models_are_split_too():
    inner = keras.Sequential([keras.Input((6, 6, 3)), layers.SeparableConv2D(3, 3, name="separable")], name="inner")
    model = keras.Sequential([keras.Input((6, 6, 3), name="x"), inner])
    zoo.assert_same_predictions(split(model), model, zoo.samples(model), rtol=1e-5, atol=1e-5)
    assert "inner/separable_depthwise" in split_separable(take(model), lambda path: True).weights


def test_only_allowed_layers_are_split():
    model = zoo.odd_convolutions()
    kept = split(model, allowed=lambda path: path != "separable")
    assert [layer.name for layer in kept.layers] == [layer.name for layer in model.layers]


def test_regularizers_constraints_and_trainable_are_kept():
    layer = layers.SeparableConv2D(
        3, 3, depthwise_regularizer="l2", pointwise_regularizer="l1", pointwise_constraint="non_neg", name="separable"
    )
    layer.trainable = False
    both = split(keras.Sequential([keras.Input((6, 6, 3)), layer]))
    depthwise, pointwise = both.layers
    assert isinstance(depthwise.depthwise_regularizer, keras.regularizers.L2)
    assert isinstance(pointwise.kernel_regularizer, keras.regularizers.L1)
    assert isinstance(pointwise.kernel_constraint, keras.constraints.NonNeg)
    assert both.trainable_variables == []


def test_names_that_are_taken_do_not_collide():
    x = keras.Input((6, 6, 3), name="x")
    first = layers.ReLU(name="separable_depthwise")(x)
    model = keras.Model(x, layers.SeparableConv2D(3, 3, name="separable")(first))
    zoo.assert_same_predictions(split(model), model, zoo.samples(model), rtol=1e-5, atol=1e-5)


def test_the_snapshot_stays_as_it_was():
    model = zoo.odd_convolutions()
    snapshot = take(model)
    split_separable(snapshot, lambda path: True)
    zoo.assert_same_predictions(build(snapshot), model, zoo.samples(model))
