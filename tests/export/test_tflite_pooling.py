"""Average pooling of values that were moved since they were quantized: everything that reads them is computed in int8."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.frozen_graph import freeze, tensor_names
from keras_compress.export.inference_model import inference_model
from keras_compress.export.tflite_pooling import repeat_grids_before_pooling
from tests.export.test_tflite_weights import graph_of, run

layers = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype(np.float32)


def convolution(x, name, size=3):
    return layers.ReLU()(layers.Conv2D(8, size, padding="same", name=name)(x))


def inception(image):
    one, two = convolution(image, "left"), convolution(image, "right")
    return layers.Concatenate()([layers.MaxPooling2D(2)(one), layers.MaxPooling2D(2)(two)])


MOVES = {
    "nothing": lambda image: convolution(image, "stem"),
    "maximum": lambda image: layers.MaxPooling2D(2)(convolution(image, "stem")),
    "padding": lambda image: layers.ZeroPadding2D(1)(convolution(image, "stem")),
    "cropping": lambda image: layers.Cropping2D(1)(convolution(image, "stem")),
    "upsampling": lambda image: layers.UpSampling2D(2)(convolution(image, "stem")),
    "concatenation": inception,
}


def compressed(move):
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    moved = move(image)
    pooled = layers.AveragePooling2D(3, 1, padding="same")(moved)
    x = layers.Concatenate()([convolution(moved, "beside", 1), convolution(pooled, "behind", 1)])
    model = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    config = kc.register_default_init_args({"compression": {"algorithm": "quantization"}}, IMAGES)
    return kc.create_compressed_model(model, config)


@pytest.mark.parametrize("name", MOVES)
def test_every_layer_is_computed_in_int8(name, tmp_path):
    controller, _ = compressed(MOVES[name])
    report = controller.export_model(tmp_path / "model.tflite", data=IMAGES)
    assert not report.problems
    assert all(weight.runs_in_integers for weight in report.weights), str(report)
    assert report.comparison.sqnr > 25


@pytest.mark.extended
@pytest.mark.parametrize("name", MOVES)
def test_the_numbers_stay(name):
    _, model = compressed(MOVES[name])
    graph = freeze(inference_model(model), tensor_names(model, None, None), lower_control_flow=False)
    [source] = [node.name for node in graph.node if node.op == "Placeholder"]
    output = tensor_names(model, None, None).outputs[0]
    [before] = run(graph, {source: IMAGES}, [output])
    count = len(graph.node)
    repeat_grids_before_pooling(graph)
    assert len(graph.node) == count + (name != "nothing")
    [after] = run(graph, {source: IMAGES}, [output])
    np.testing.assert_array_equal(after, before)


def grid(values, high):
    return tf.quantization.fake_quant_with_min_max_vars(values, 0.0, high)


JOINED = {
    "grids that differ": lambda x: tf.concat([grid(x, 1.0), grid(x, 2.0)], -1),
    "values that are not quantized": lambda x: tf.concat([grid(x, 1.0), tf.exp(x)], -1),
    "a constant": lambda x: tf.concat([grid(x, 1.0), tf.fill([1, 4, 4, 2], 0.1234)], -1),
    "a grid in front of it": lambda x: grid(x, 1.0),
}


@pytest.mark.parametrize("name", JOINED)
def test_nothing_is_added_where_no_single_grid_was_moved(name):
    graph = graph_of(lambda x: tf.nn.avg_pool2d(JOINED[name](x), 2, 2, "SAME"), (1, 4, 4, 3))
    before = [node.name for node in graph.node]
    repeat_grids_before_pooling(graph)
    assert [node.name for node in graph.node] == before


def test_calls_of_one_quantizer_are_one_grid():
    graph = graph_of(
        lambda x: tf.nn.avg_pool2d(tf.concat([grid(x, 1.0), grid(-x, 1.0)], -1), 2, 2, "SAME"), (1, 4, 4, 3)
    )
    count = len(graph.node)
    repeat_grids_before_pooling(graph)
    assert len(graph.node) == count + 1
