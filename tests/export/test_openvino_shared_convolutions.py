"""Convolutions without a bias that a quantizer and something else read are right in OpenVINO."""

import numpy as np
import openvino
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from tests.export.openvino_files import samples
from tests.levels import levels

layers = keras.layers
IMAGE = (8, 8, 3)


def convolution(units=4, kernel=3, name="shared", **options):
    return layers.Conv2D(units, kernel, name=name, **options)


def both(layer, second=None):
    """Return a function that returns what a layer makes, and what a second layer makes of it."""
    return lambda x: (lambda y: [y, (second or layers.Dense(3, name="second"))(y)])(layer(x))


#: By name the shape of a sample, and what is made of it. The biases are zero.
SHARED = {
    "one channel": ((8, 8, 1), lambda: both(convolution(kernel=1))),
    "one channel, no bias": ((8, 8, 1), lambda: both(convolution(kernel=1, use_bias=False))),
    "to one channel": (IMAGE, lambda: both(convolution(1, 1))),
    "several channels": (IMAGE, lambda: both(convolution())),
    "into a convolution": (IMAGE, lambda: both(convolution(use_bias=False), convolution(3, 1, "second"))),
    "into a pooling": (IMAGE, lambda: both(convolution(use_bias=False), layers.AveragePooling2D())),
    "flattened": (
        IMAGE,
        lambda: lambda x: (lambda y: [y, layers.Dense(3)(layers.Flatten()(y))])(convolution(use_bias=False)(x)),
    ),
    "depthwise": (IMAGE, lambda: both(layers.DepthwiseConv2D(3, name="shared"))),
    "grouped": ((8, 8, 4), lambda: both(convolution(groups=2, use_bias=False))),
    "separable": (IMAGE, lambda: both(layers.SeparableConv2D(4, 3, use_bias=False, name="shared"))),
    "volumes": ((4, 4, 4, 1), lambda: both(layers.Conv3D(4, 1, name="shared"))),
    "one axis": ((8, 1), lambda: both(layers.Conv1D(4, 1, name="shared"))),
    "dense": ((8, 8, 1), lambda: both(layers.Dense(4, name="shared"))),
    "transposed": (IMAGE, lambda: both(layers.Conv2DTranspose(4, 3, use_bias=False, name="shared"))),
    "an activation function beside it": (
        IMAGE,
        lambda: lambda x: (lambda y: [tf.tanh(y), layers.Dense(3)(y)])(convolution(use_bias=False)(x)),
    ),
    "a gate beside it": (
        IMAGE,
        lambda: (
            lambda x: (lambda y: [layers.Dense(2)(y * tf.sigmoid(y)), layers.Dense(3)(y)])(
                convolution(use_bias=False)(x)
            )
        ),
    ),
    "factors between": (
        IMAGE,
        lambda: (
            lambda x: (lambda y: [y, layers.Dense(3)(y)])(
                convolution(use_bias=False)(x) * tf.constant([1.0, 2.0, -3.0, 0.5])
            )
        ),
    ),
}


def model_of(shape, make, bias=0.0):
    """Return the quantized model, every bias of it ``bias``."""
    keras.utils.set_random_seed(0)
    x = keras.Input(shape)
    model = keras.Model(x, make()(x))
    generator = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign(generator.normal(0, 0.5, variable.shape))
    compressed = kc.quantize(model, samples(shape))
    for variable in compressed.variables:
        if "bias" in variable.name:
            variable.assign(np.full(variable.shape, bias))
    return compressed


@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("case", levels(list(SHARED), first=["one channel", "several channels", "flattened"]))
def test_every_output_is_right(case, batch_size, tmp_path):
    shape, make = SHARED[case]
    report = kc.export_model(
        model_of(shape, make), tmp_path / "m.xml", data=samples(shape, seed=3), batch_size=batch_size
    )
    assert report.comparison.sqnr > 50
    assert {weight.stored_as for weight in report.weights} == {"int8"}
    assert all(weight.runs_in_integers for weight in report.weights)


def tiny_biases(path):
    """Return the sums with 1e-30 in a file."""
    sums = [node for node in openvino.Core().read_model(path).get_ordered_ops() if node.get_type_name() == "Add"]
    constants = [node.input_value(1).get_node() for node in sums]
    return [
        node for node in constants if node.get_type_name() == "Constant" and np.allclose(node.get_data(), 1e-30, atol=0)
    ]


@pytest.mark.parametrize("case", ["with a bias", "with one reader"])
def test_other_convolutions_are_left_as_they_are(case, tmp_path):
    make = (lambda: both(convolution())) if case == "with a bias" else (lambda: convolution(use_bias=False))
    kc.export_model(model_of(IMAGE, make, bias=0.3), tmp_path / "m.xml", data=samples(IMAGE, seed=3))
    assert not tiny_biases(tmp_path / "m.xml")


def test_a_shared_convolution_has_one(tmp_path):
    kc.export_model(model_of(*SHARED["several channels"]), tmp_path / "m.xml", data=samples(IMAGE, seed=3))
    assert len(tiny_biases(tmp_path / "m.xml")) == 1
