"""Grouped convolutions, which Keras calls as functions, in the formats whose converters do not look into functions."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.graph_function import graph_function
from keras_compress.export.inline_calls import inline_calls

layers = keras.layers


def grouped(dimensions, groups, *, normalized=True):
    keras.utils.set_random_seed(4)
    shape = (*[6] * dimensions, 8)
    kind = {1: layers.Conv1D, 2: layers.Conv2D}[dimensions]
    stack = [keras.Input(shape), kind(8, 3, groups=groups, strides=1 if groups == 8 else 2, padding="same")]
    stack += [layers.BatchNormalization(), layers.ReLU()] if normalized else []
    return keras.Sequential([*stack, kind(4, 1)]), np.random.default_rng(1).normal(size=(16, *shape)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
@pytest.mark.parametrize(("dimensions", "groups"), [(2, 2), (2, 4), (2, 8), (1, 2), (1, 8)])
def test_grouped_convolutions_are_integers(dimensions, groups, suffix, tmp_path):
    model, data = grouped(dimensions, groups)
    report = kc.export_model(kc.quantize(model, data), tmp_path / f"m{suffix}", calibration_data=data, data=data)
    assert report.problems == []
    assert {row.stored_as for row in report.weights} == {"int8"}
    if suffix == ".tflite" or dimensions == 2:
        assert {row.runs_in_integers for row in report.weights} == {True}
    assert report.comparison.sqnr >= 35


def test_the_group_of_an_onnx_convolution_is_that_of_the_layer(tmp_path):
    import onnx

    model, data = grouped(2, 4, normalized=False)
    path = kc.export_model(kc.quantize(model, data), tmp_path / "m.onnx", calibration_data=data).path
    found = [
        attribute.i
        for node in onnx.load(path).graph.node
        if node.op_type == "Conv"
        for attribute in node.attribute
        if attribute.name == "group"
    ]
    assert sorted(found) == [1, 4]


def frozen(function, *shapes):
    signature = [tf.TensorSpec(shape, tf.float32, name=f"x{number}") for number, shape in enumerate(shapes)]
    return tf.function(function, input_signature=signature).get_concrete_function().graph.as_graph_def()


def test_functions_of_several_results_and_functions_in_functions():
    @tf.function(autograph=False)
    def inner(a, b):
        return a * b, tf.split(a + b, 2)[1]

    @tf.function(autograph=False)
    def outer(a, b):
        product, half = inner(a, b)
        return half, product - b, a

    def whole(a, b):
        half, rest, same = outer(a, b)
        again, _, _ = outer(rest, same)
        return tf.identity(half + again, name="y")

    graph_def = frozen(whole, (2, 3), (2, 3))
    inputs = [tf.random.normal((2, 3)), tf.random.normal((2, 3))]
    before = graph_function(graph_def, ["x0", "x1"], ["y"])(*inputs)[0].numpy()
    assert any(node.op.endswith("PartitionedCall") for node in graph_def.node)
    inline_calls(graph_def)
    assert not any(node.op.endswith("PartitionedCall") for node in graph_def.node)
    np.testing.assert_array_equal(graph_function(graph_def, ["x0", "x1"], ["y"])(*inputs)[0].numpy(), before)


def test_a_graph_without_calls_stays():
    graph_def = frozen(lambda a: a + 1.0, (2,))
    before = graph_def.SerializeToString(deterministic=True)
    inline_calls(graph_def)
    assert graph_def.SerializeToString(deterministic=True) == before
