"""Layers of Keras' own that hold functions without a name are compressed and exported as those with named functions."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import build, take
from keras_compress.graph.snapshot import entries
from tests import zoo
from tests.export.compare import decibels

layers = keras.layers


def half(x):
    return tf.nn.relu(x) * 0.5


def same(weight):
    return weight


#: Every class that takes an activation function, with the shape of its input.
ACTIVATED = {
    "Dense": (lambda f: layers.Dense(4, activation=f, name="own"), (6,)),
    "Dense on rank 3": (lambda f: layers.Dense(4, activation=f, name="own"), (5, 6)),
    "EinsumDense": (lambda f: layers.EinsumDense("abc,cd->abd", (None, 4), activation=f, name="own"), (5, 6)),
    "Conv1D": (lambda f: layers.Conv1D(4, 3, activation=f, name="own"), (8, 3)),
    "Conv2D": (lambda f: layers.Conv2D(4, 3, activation=f, name="own"), (7, 7, 3)),
    "Conv2DTranspose": (lambda f: layers.Conv2DTranspose(4, 3, activation=f, name="own"), (5, 5, 3)),
    "DepthwiseConv2D": (lambda f: layers.DepthwiseConv2D(3, activation=f, name="own"), (7, 7, 3)),
    "SeparableConv1D": (lambda f: layers.SeparableConv1D(4, 3, activation=f, name="own"), (8, 3)),
    "SeparableConv2D": (lambda f: layers.SeparableConv2D(4, 3, activation=f, name="own"), (7, 7, 3)),
    "TimeDistributed": (lambda f: layers.TimeDistributed(layers.Dense(4, activation=f), name="own"), (5, 6)),
    "Activation": (lambda f: layers.Activation(f, name="own"), (6,)),
}


def activated(kind, function):
    keras.utils.set_random_seed(4)
    make, shape = ACTIVATED[kind]
    return keras.Sequential([keras.Input(shape), make(function), layers.Flatten(), layers.Dense(2, name="end")])


@pytest.mark.parametrize("kind", ACTIVATED)
def test_the_weights_that_are_quantized_do_not_depend_on_the_name_of_a_function(kind):
    named, nameless = activated(kind, half), activated(kind, lambda x: half(x))
    x = zoo.samples(named, 32)
    expected, found = (kc.quantize(model, x) for model in (named, nameless))
    assert [variable.shape for variable in found.variables] == [variable.shape for variable in expected.variables]
    assert decibels(zoo.predict(expected, x), zoo.predict(found, x)) >= 100
    assert not {id(one) for one in nameless.variables} & {id(one) for one in found.variables}


@pytest.mark.parametrize("suffix", [".pb", ".onnx", ".xml", ".tflite"])
@pytest.mark.parametrize("kind", ACTIVATED)
def test_files_hold_what_the_model_computes(kind, suffix, tmp_path):
    model = activated(kind, lambda x: half(x))
    x = zoo.samples(model, 32)
    report = kc.export_model(kc.quantize(model, x), tmp_path / f"model{suffix}", data=x)
    assert report.faults == []
    assert report.comparison.sqnr >= 35


CONSTRAINED = {
    "constraint": {"kernel_constraint": lambda w: same(w)},
    "regularizer": {"kernel_regularizer": lambda w: 0.1 * tf.reduce_sum(w)},
    "initializer": {"bias_initializer": lambda shape, dtype=None: tf.ones(shape, dtype)},
    "activity": {"activity_regularizer": lambda y: 0.1 * tf.reduce_sum(y)},
}


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
@pytest.mark.parametrize("option", CONSTRAINED)
def test_what_counts_in_training_alone_is_no_matter_in_files(option, suffix, tmp_path):
    keras.utils.set_random_seed(4)
    conv = layers.Conv2D(4, 3, name="conv", **CONSTRAINED[option])
    norm = layers.BatchNormalization(name="norm", gamma_constraint=lambda w: same(w))
    end = [layers.ReLU(), layers.Flatten(), layers.Dense(3, name="end", bias_constraint=lambda w: same(w))]
    model = keras.Sequential([keras.Input((6, 6, 3)), conv, norm, *end])
    x = zoo.samples(model, 32)
    report = kc.export_model(kc.quantize(model, x), tmp_path / f"model{suffix}", data=x)
    assert report.faults == []
    assert report.comparison.sqnr >= 35


def test_a_layer_with_other_arguments_keeps_its_functions():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(3, activation=lambda x: half(x), kernel_constraint=lambda w: same(w), name="a"),
        ]
    )
    snapshot = take(model).edited()
    entry = dict(entries(snapshot.config))["a"]
    assert entry["config"]["units"] == 3
    entry["config"]["use_bias"] = False
    made = build(snapshot.with_weights({"a": {"kernel": model.get_layer("a").kernel.numpy()}}))
    x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    np.testing.assert_allclose(made(x), half(x @ model.get_layer("a").kernel.numpy()), rtol=1e-5)
    assert made.get_layer("a").kernel_constraint is model.get_layer("a").kernel_constraint


def test_nothing_is_said_of_functions_without_names():
    model = activated("Dense", lambda x: half(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        take(model)


class Scale(layers.Layer):
    """A layer of one's own that cannot tell its arguments."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor


@pytest.mark.parametrize("inner", [lambda: Scale(2.0), lambda: layers.Lambda(lambda x: 2 * x)])
def test_a_layer_for_each_step_that_cannot_be_described_is_kept(inner):
    model = keras.Sequential([keras.Input((5, 6)), layers.TimeDistributed(inner(), name="own"), layers.Dense(2)])
    x = zoo.samples(model, 8)
    np.testing.assert_allclose(build(take(model))(x), model(x), rtol=1e-6)
    assert decibels(zoo.predict(model, x), zoo.predict(kc.quantize(model, x), x)) >= 25


class WithoutConfig(keras.regularizers.Regularizer):
    """A regularizer that cannot tell its arguments."""

    def __call__(self, weight):
        return tf.reduce_sum(weight**2)


def test_a_layer_that_holds_something_without_a_configuration_is_copied():
    own = layers.Dense(4, activation=lambda x: half(x), kernel_regularizer=WithoutConfig(), name="own")
    model = keras.Sequential([keras.Input((6,)), own, layers.Dense(2)])
    x = zoo.samples(model, 8)
    np.testing.assert_allclose(build(take(model))(x), model(x), rtol=1e-6)
