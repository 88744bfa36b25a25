"""Landmarks: first and last layers with weights, convolutions on shortcuts; in plain, residual and nested models."""

import pytest
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.graph import ModelGraph, take
from keras_compress.graph.topology import first_compute_layers, last_compute_layers, shortcut_layers
from tests import binary, zoo

layers = keras.layers
DENSE = frozenset({"Dense"})


def graph(model):
    return ModelGraph(take(model))


def conv(x, name, filters=4, kernel=3, **options):
    return layers.Conv2D(filters, kernel, padding="same", name=name, **options)(x)


def classified(image, x):
    return keras.Model(image, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D()(x)))


def stacked(*parts, first="stem"):
    """Functional: a convolution called ``first``, then parts (layers or models), then a classifier."""
    image = keras.Input((8, 8, 4), name="image")
    x = conv(image, first) if first else image
    for part in parts:
        x = part(x)
    return classified(image, x)


def block(name):
    """A model to nest: two convolutions."""
    image = keras.Input((8, 8, 4), name=f"{name}_image")
    return keras.Model(image, conv(conv(image, "a"), "b"), name=name)


def shortcut_block(x, add, *, projected=True, name="block"):
    """Two convolutions, and one around them if the shortcut is projected; ``add`` makes the sum."""
    way = conv(conv(x, f"{name}_a"), f"{name}_b")
    return add(way, conv(x, f"{name}_shortcut", kernel=1) if projected else x)


SUMS = {
    "Add": lambda one, other: layers.Add()([one, other]),
    "add": lambda one, other: layers.add([other, one]),
    "operator": lambda one, other: one + other,
    "reversed operator": lambda one, other: other + one,
    "tf.add": lambda one, other: tf.add(one, other),
    "tf.math.add by name": lambda one, other: tf.math.add(x=other, y=one),
}
every_sum = pytest.mark.parametrize("kind", SUMS)


@pytest.mark.parametrize(
    ("make", "first", "last"),
    [
        (zoo.dense, {"hidden"}, {"out"}),
        (zoo.convolution, {"conv"}, {"out"}),
        (zoo.deferred, {"hidden"}, {"out"}),
        (zoo.residual, {"stem"}, {"out"}),
        (zoo.concatenation, {"left", "right"}, {"after"}),
        (zoo.shared_layer, {"shared"}, {"out"}),
        (zoo.dicts, {"hidden", "score", "rank"}, {"score", "rank"}),
        (zoo.two_outputs, {"near", "hidden"}, {"near", "far"}),
        (zoo.nested, {"backbone/conv"}, {"head/dense"}),
        (zoo.transfer, {"backbone/conv"}, {"out"}),
        (zoo.odd_convolutions, {"depthwise"}, {"transposed"}),
        (binary.residual, {"stem"}, {"head"}),
    ],
)
def test_first_and_last_layers(make, first, last):
    found = graph(make())
    assert first_compute_layers(found) == first
    assert last_compute_layers(found) == last


@pytest.mark.parametrize(
    ("make", "last"), [(zoo.convolution, {"conv"}), (zoo.transfer, {"backbone/conv"}), (zoo.nested, {"backbone/conv"})]
)
def test_the_last_convolution_lies_behind_the_classifier(make, last):
    assert last_compute_layers(graph(make()), skipped=DENSE) == last


def test_several_dense_layers_are_looked_through():
    model = stacked(layers.Conv2D(4, 3, name="last"), layers.Flatten(), layers.Dense(4), layers.Reshape((2, 2, 1)))
    assert last_compute_layers(graph(model), skipped=DENSE) == {"last"}


def test_of_a_residual_network_only_the_convolution_in_front_of_the_classifier_is_last():
    image = keras.Input((8, 8, 4), name="image")
    x = shortcut_block(conv(image, "stem"), SUMS["Add"], name="one")
    x = shortcut_block(x, SUMS["Add"], projected=False, name="two")
    assert last_compute_layers(graph(classified(image, x)), skipped=DENSE) == {"two_b"}


def test_a_projected_last_block_has_two_last_convolutions():
    image = keras.Input((8, 8, 4), name="image")
    x = shortcut_block(conv(image, "stem"), SUMS["Add"], name="one")
    assert last_compute_layers(graph(classified(image, x)), skipped=DENSE) == {"one_b", "one_shortcut"}


def test_layers_of_the_last_of_several_nested_models_are_last():
    found = graph(stacked(block("one"), block("two")))
    assert last_compute_layers(found, skipped=DENSE) == {"two/b"}
    assert first_compute_layers(found) == {"stem"}


def test_the_first_layer_lies_behind_a_nested_model_without_weights():
    augmentation = keras.Sequential([keras.Input((8, 8, 4)), layers.Rescaling(2.0)], name="augmentation")
    assert first_compute_layers(graph(stacked(augmentation, layers.Conv2D(4, 3, name="stem"), first=None))) == {"stem"}


def test_the_first_layer_lies_in_a_nested_model():
    assert first_compute_layers(graph(stacked(block("one"), first=None))) == {"one/a"}


def test_a_model_without_weights_has_neither():
    found = graph(keras.Sequential([keras.Input((4,)), layers.ReLU()]))
    assert first_compute_layers(found) == last_compute_layers(found) == shortcut_layers(found) == set()


@every_sum
def test_the_convolution_around_a_block_is_on_the_shortcut(kind):
    image = keras.Input((8, 8, 4), name="image")
    model = classified(image, shortcut_block(conv(image, "stem"), SUMS[kind]))
    assert shortcut_layers(graph(model)) == {"block_shortcut"}


@every_sum
def test_a_shortcut_without_weights_has_no_layers(kind):
    image = keras.Input((8, 8, 4), name="image")
    model = classified(image, shortcut_block(conv(image, "stem"), SUMS[kind], projected=False))
    assert shortcut_layers(graph(model)) == set()


@pytest.mark.parametrize("make", [zoo.residual, zoo.convolution, zoo.concatenation, zoo.operators, zoo.two_outputs])
def test_models_without_a_projection_have_no_shortcut_layers(make):
    assert shortcut_layers(graph(make())) == set()


def test_batch_normalization_and_pooling_on_the_shortcut_change_nothing():
    image = keras.Input((8, 8, 4), name="image")
    stem = layers.ReLU()(conv(image, "stem"))
    way = layers.BatchNormalization()(conv(layers.ReLU()(conv(stem, "a")), "b"))
    around = layers.BatchNormalization()(conv(layers.AveragePooling2D(1)(stem), "shortcut", kernel=1))
    assert shortcut_layers(graph(classified(image, layers.Add()([way, around])))) == {"shortcut"}


def test_of_ways_of_the_same_length_none_is_the_shortcut():
    image = keras.Input((8, 8, 4), name="image")
    stem = conv(image, "stem")
    model = classified(image, layers.Add()([conv(stem, "left"), conv(stem, "right")]))
    assert shortcut_layers(graph(model)) == set()


def test_shortcuts_of_every_block_are_found():
    assert shortcut_layers(graph(binary.residual())) == {"shortcut"}
    image = keras.Input((8, 8, 4), name="image")
    x = shortcut_block(conv(image, "stem"), SUMS["Add"], name="one")
    x = shortcut_block(layers.ReLU()(x), SUMS["operator"], name="two")
    assert shortcut_layers(graph(classified(image, x))) == {"one_shortcut", "two_shortcut"}


def test_shortcuts_inside_of_a_nested_model_are_found():
    inner = keras.Input((8, 8, 4), name="inner_image")
    backbone = keras.Model(inner, shortcut_block(inner, SUMS["Add"]), name="backbone")
    assert shortcut_layers(graph(stacked(backbone))) == {"backbone/block_shortcut"}


def test_a_shortcut_around_a_nested_model_is_found():
    image = keras.Input((8, 8, 4), name="image")
    stem = conv(image, "stem")
    model = classified(image, layers.Add()([block("way")(stem), conv(stem, "shortcut", kernel=1)]))
    assert shortcut_layers(graph(model)) == {"shortcut"}
