"""Multiplications by constants of both signs give in OpenVINO what they give in Keras, from every file it reads."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.export.factors_of_both_signs import write_signs_apart
from keras_compress.export.graph_function import graph_function
from tests.export.openvino_files import FACTORS, LEAST, assert_right_in_openvino, quantized
from tests.levels import levels

layers = keras.layers

#: What reads the product, and the shape of the input.
READERS = {
    "dense": (lambda: layers.Dense(3), (8,)),
    "dense on a stack": (lambda: layers.Dense(3), (4, 8)),
    "convolution of a sequence": (lambda: layers.Conv1D(3, 3), (6, 8)),
    "convolution": (lambda: layers.Conv2D(3, 3), (5, 5, 8)),
    "depthwise": (lambda: layers.DepthwiseConv2D(3), (5, 5, 8)),
    "transposed": (lambda: layers.Conv2DTranspose(3, 3), (5, 5, 8)),
    "separable": (lambda: layers.SeparableConv2D(3, 3), (5, 5, 8)),
    "volumes": (lambda: layers.Conv3D(3, 2), (3, 3, 3, 8)),
    "einsum": (lambda: layers.EinsumDense("abc,cd->abd", (None, 3)), (4, 8)),
}
#: How the factors come into the model.
FACTOR = {
    "multiplied": lambda x: x * FACTORS,
    "ones": lambda x: x * np.sign(FACTORS),
    "divided": lambda x: x / FACTORS,
    "rescaled": lambda x: layers.Rescaling([float(factor) for factor in FACTORS])(x),
    "twice": lambda x: x * FACTORS * FACTORS[::-1],
    "in front of an activation": lambda x: layers.ReLU()(x * FACTORS),
    "shifted": lambda x: x * FACTORS + FACTORS[::-1],
    "shifted by one number": lambda x: x * FACTORS + 0.25,
    "with zeros": lambda x: x * np.where(FACTORS == 1, 0, FACTORS),
    "normalized": lambda x: layers.BatchNormalization()(x),
}
CASES = [
    (reader, factor, suffix)
    for reader in READERS
    for factor in FACTOR
    for suffix in (".xml", ".onnx", ".pb")
    if reader == "dense" or factor in ("multiplied", "normalized")
]


@pytest.mark.parametrize(
    "case",
    levels(
        CASES,
        first=[
            ("dense", "multiplied", ".xml"),
            ("dense", "rescaled", ".onnx"),
            ("convolution", "multiplied", ".xml"),
            ("dense", "divided", ".pb"),
        ],
    ),
)
def test_in_front_of_a_layer(case, tmp_path):
    reader, factor, suffix = case
    layer, shape = READERS[reader]
    compressed = quantized(lambda x: layer()(FACTOR[factor](x)), shape)
    assert_right_in_openvino(compressed, shape, tmp_path / f"model{suffix}", LEAST[suffix])


BEHIND = {
    "dense": (lambda: layers.Dense(8), (6,)),
    "dense with relu": (lambda: layers.Dense(8, activation="relu"), (6,)),
    "convolution of a sequence": (lambda: layers.Conv1D(8, 3, use_bias=False), (6, 4)),
    "convolution": (lambda: layers.Conv2D(8, 3), (5, 5, 4)),
    "convolution with relu": (lambda: layers.Conv2D(8, 3, activation="relu"), (5, 5, 4)),
    "pooling": (lambda: keras.Sequential([layers.Conv2D(8, 2, activation="relu"), layers.MaxPool2D()]), (5, 5, 4)),
}


@pytest.mark.parametrize(
    "case",
    levels(
        [(layer, suffix) for layer in BEHIND for suffix in (".xml", ".onnx")],
        first=[("convolution of a sequence", ".xml"), ("pooling", ".onnx")],
    ),
)
def test_behind_a_layer(case, tmp_path):
    layer, suffix = BEHIND[case[0]], case[1]
    compressed = quantized(lambda x: layers.Dense(3)(layer[0]()(x) * FACTORS), layer[1])
    assert_right_in_openvino(compressed, layer[1], tmp_path / f"model{suffix}", LEAST[suffix])


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_factors_of_positions_and_several_readers(suffix, tmp_path):
    positions = np.array([[1.0], [-0.5], [2.0], [-1.0]], np.float32)

    def several(x):
        product = x * positions
        return layers.Dense(3)(product) + layers.Dense(3)(layers.ReLU()(product))

    compressed = quantized(several, (4, 8))
    assert_right_in_openvino(compressed, (4, 8), tmp_path / f"model{suffix}", LEAST[suffix])


def graph_of(function, shape=(None, 8)):
    """Return the graph of a function of one input as a file has it, and the name of its output."""
    concrete = tf.function(function).get_concrete_function(tf.TensorSpec(shape, name="x"))
    return concrete.graph.as_graph_def(), concrete.inputs[0].op.name, concrete.outputs[0].op.name


def kinds(graph_def):
    return [node.op for node in graph_def.node]


@pytest.mark.parametrize(
    "function",
    [
        partial(tf.multiply, FACTORS),
        lambda x: x * FACTORS,
        lambda x: x / FACTORS,
        lambda x: x * tf.constant(FACTORS[:6, None]),
    ],
)
def test_numbers_stay_the_same_to_the_last_bit(function):
    graph_def, source, result = graph_of(function)
    x = np.concatenate([np.random.default_rng(0).normal(size=(5, 8)), [[0, -0.0, np.inf, -np.inf] * 2]])
    x = x.astype(np.float32)
    before = graph_function(graph_def, [source], [result])(tf.constant(x))[0].numpy()
    write_signs_apart(graph_def)
    after = graph_function(graph_def, [source], [result])(tf.constant(x))[0].numpy()
    assert "SelectV2" in kinds(graph_def)
    np.testing.assert_array_equal(before.view(np.int32), after.view(np.int32))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * np.abs(FACTORS),
        lambda x: x * -2.0,
        lambda x: x * x,
        lambda x: FACTORS / x,
        lambda x: tf.matmul(x, tf.ones((8, 8))) * FACTORS,
        lambda x: x * FACTORS + FACTORS,
    ],
)
def test_multiplications_that_need_no_choice_stay(function):
    graph_def, _, _ = graph_of(function)
    before = graph_def.SerializeToString(deterministic=True)
    write_signs_apart(graph_def)
    assert graph_def.SerializeToString(deterministic=True) == before


def test_a_sum_with_zeros_is_no_sum():
    graph_def, _, _ = graph_of(lambda x: x * FACTORS + np.zeros(8, np.float32))
    write_signs_apart(graph_def)
    assert "SelectV2" in kinds(graph_def)
