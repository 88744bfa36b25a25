"""Dilated convolutions become one operation, with any number of samples, and compute in int8 in TensorFlow Lite files."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.dilated_convolutions import dilated_convolutions
from keras_compress.export.graph_function import graph_function
from tests.levels import levels

layers = keras.layers

SEQUENCE, IMAGE = (17, 4), (9, 8, 4)
LAYERS = {
    "Conv2D": (lambda **o: layers.Conv2D(5, 3, dilation_rate=2, **o), IMAGE),
    "Conv2D, one axis": (lambda **o: layers.Conv2D(5, 3, dilation_rate=(1, 3), **o), IMAGE),
    "Conv2D, the other axis": (lambda **o: layers.Conv2D(5, (3, 2), dilation_rate=(2, 1), **o), IMAGE),
    "Conv2D, of even sizes": (lambda **o: layers.Conv2D(5, (2, 4), dilation_rate=(3, 2), **o), IMAGE),
    "Conv2D, grouped": (lambda **o: layers.Conv2D(6, 3, dilation_rate=2, groups=2, **o), IMAGE),
    "Conv2D, one channel": (lambda **o: layers.Conv2D(1, 3, dilation_rate=2, **o), IMAGE),
    "Conv1D": (lambda **o: layers.Conv1D(5, 3, dilation_rate=2, **o), SEQUENCE),
    "Conv1D, grouped": (lambda **o: layers.Conv1D(6, 3, dilation_rate=2, groups=2, **o), SEQUENCE),
    "Conv1D, one channel": (lambda **o: layers.Conv1D(1, 3, dilation_rate=2, **o), SEQUENCE),
    "DepthwiseConv2D": (lambda **o: layers.DepthwiseConv2D(3, dilation_rate=2, **o), IMAGE),
    "DepthwiseConv1D": (lambda **o: layers.DepthwiseConv1D(3, dilation_rate=2, depth_multiplier=2, **o), SEQUENCE),
    "SeparableConv2D": (lambda **o: layers.SeparableConv2D(5, 3, dilation_rate=2, **o), IMAGE),
    "SeparableConv1D": (lambda **o: layers.SeparableConv1D(5, 3, dilation_rate=2, **o), SEQUENCE),
}
CASES = [
    *((kind, padding) for kind in LAYERS for padding in ("same", "valid")),
    *((kind, "causal") for kind in ("Conv1D", "Conv1D, grouped", "Conv1D, one channel", "SeparableConv1D")),
]


def samples(*shape, count=32):
    return np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32)


def model_of(kind, padding):
    keras.utils.set_random_seed(3)
    make, shape = LAYERS[kind]
    return keras.Sequential([keras.Input(shape), make(padding=padding, activation="relu")]), samples(*shape)


@pytest.mark.parametrize(("kind", "padding"), CASES)
def test_it_computes_in_int8_with_any_number_of_samples(kind, padding, tmp_path):
    model, data = model_of(kind, padding)
    report = kc.export_model(kc.quantize(model, data), tmp_path / "m.tflite", data=data, min_sqnr=30)
    assert report.problems == []
    assert {(row.stored_as, row.runs_in_integers) for row in report.weights} == {("int8", True)}


BESIDE = {
    "each time step": (lambda x: layers.TimeDistributed(layers.Conv1D(5, 3, dilation_rate=2))(x), (3, *SEQUENCE)),
    "a stack": (
        lambda x: layers.Conv1D(5, 3, dilation_rate=4, padding="causal")(
            layers.Conv1D(5, 3, dilation_rate=2, padding="causal", activation="relu")(x)
        ),
        SEQUENCE,
    ),
    "a sum": (lambda x: layers.Add()([x, layers.Conv1D(4, 3, dilation_rate=2, padding="causal")(x)]), SEQUENCE),
    "a batch normalization": (
        lambda x: layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, dilation_rate=2)(x))),
        IMAGE,
    ),
}


@pytest.mark.parametrize("kind", levels(BESIDE, first=["a stack"]))
def test_it_computes_in_int8_beside_others(kind, tmp_path):
    make, shape = BESIDE[kind]
    keras.utils.set_random_seed(3)
    x = keras.Input(shape)
    data = samples(*shape)
    report = kc.export_model(kc.quantize(keras.Model(x, make(x)), data), tmp_path / "m.tflite", data=data, min_sqnr=30)
    assert {row.runs_in_integers for row in report.weights} == {True}


def test_in_three_dimensions_it_can_be_written(tmp_path):
    x = keras.Input((6, 6, 6, 2))
    data = samples(6, 6, 6, 2)
    model = kc.quantize(keras.Model(x, layers.Conv3D(3, 2, dilation_rate=2)(x)), data)
    report = kc.export_model(model, tmp_path / "m.tflite", data=data, min_sqnr=30)
    assert {row.stored_as for row in report.weights} == {"int8"}


def graph_of(function, shape):
    concrete = tf.function(function, input_signature=[tf.TensorSpec(shape, name="x")]).get_concrete_function()
    return convert_variables_to_constants_v2(concrete).graph.as_graph_def()


def output(graph_def):
    return next(node.name for node in graph_def.node if node.name == "Identity")


def moved(x, kernel, paddings, crops):
    batches = tf.space_to_batch(x, [2, 2], paddings)
    return tf.batch_to_space(tf.nn.conv2d(batches, kernel, 1, "VALID"), [2, 2], crops)


KERNEL = np.random.default_rng(0).normal(size=(3, 3, 4, 2)).astype(np.float32)
PADDINGS = {
    "none": ([[0, 0], [0, 0]], [[0, 0], [0, 0]], "VALID"),
    "cropped again": ([[0, 2], [0, 2]], [[0, 2], [0, 2]], "VALID"),
    "the same size": ([[2, 2], [2, 2]], [[0, 0], [0, 0]], "SAME"),
    "one side": ([[4, 0], [0, 2]], [[0, 0], [0, 0]], "VALID"),
}


@pytest.mark.parametrize("kind", PADDINGS)
def test_the_numbers_stay(kind):
    paddings, crops, expected = PADDINGS[kind]
    graph_def = graph_of(lambda x: moved(x, KERNEL, paddings, crops), (None, 8, 8, 4))
    x = tf.constant(samples(8, 8, 4, count=3))
    [before] = graph_function(graph_def, ["x"], [output(graph_def)])(x)
    dilated_convolutions(graph_def)
    [after] = graph_function(graph_def, ["x"], [output(graph_def)])(x)
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    assert not {"SpaceToBatchND", "BatchToSpaceND"} & {node.op for node in graph_def.node}
    [convolution] = [node for node in graph_def.node if node.op == "Conv2D"]
    assert convolution.attr["padding"].s.decode() == expected
    assert list(convolution.attr["dilations"].list.i) == [1, 2, 2, 1]


NOT_ONE = {
    "more is cut off than was added": lambda x: moved(x, KERNEL, [[0, 0], [0, 0]], [[0, 2], [0, 0]]),
    "something else reads what is moved": lambda x: (
        lambda batches: (
            tf.batch_to_space(tf.nn.conv2d(batches, KERNEL, 1, "VALID"), [2, 2], [[0, 0], [0, 0]])
            + tf.reduce_sum(batches)
        )
    )(tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]])),
    "other strides": lambda x: tf.batch_to_space(
        tf.nn.conv2d(tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]]), KERNEL, 2, "VALID"), [2, 2], [[0, 0], [0, 0]]
    ),
    "no convolution": lambda x: tf.batch_to_space(
        tf.nn.relu(tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]])), [2, 2], [[0, 0], [0, 0]]
    ),
}


@pytest.mark.parametrize("kind", NOT_ONE)
def test_what_is_no_dilated_convolution_stays(kind):
    graph_def = graph_of(NOT_ONE[kind], (None, 8, 8, 4))
    before = graph_def.SerializeToString(deterministic=True)
    dilated_convolutions(graph_def)
    assert graph_def.SerializeToString(deterministic=True) == before
