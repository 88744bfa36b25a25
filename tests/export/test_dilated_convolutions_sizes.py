"""Dilated convolutions become one operation over open sizes, in called functions and where an axis stays; in OpenVINO as well."""

import numpy as np
import openvino
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.dilated_convolutions import dilated_convolutions
from keras_compress.export.graph_function import graph_function
from tests.export.test_dilated_convolutions import CASES, KERNEL, graph_of, model_of, output, samples
from tests.levels import levels

layers = keras.layers
MOVES = {"SpaceToBatchND", "BatchToSpaceND"}
ROW = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
DEPTH = np.random.default_rng(0).normal(size=(3, 3, 4, 2)).astype(np.float32)


def moved(x, block, paddings, crops):
    batches = tf.space_to_batch(x, block, paddings)
    return tf.batch_to_space(tf.nn.conv2d(batches, KERNEL, 1, "VALID"), block, crops)


def rest(x, axis, block):
    """Return by how much an axis must grow to be a multiple of the block."""
    return -tf.shape(x)[axis] % block


def between_sums(x):
    for _ in range(2):
        x = tf.nn.convolution(x, np.concatenate([KERNEL, KERNEL], -1), padding="SAME", dilations=[2, 3])
    return x


@tf.function(experimental_attributes={"_noinline": True}, autograph=False)
def called(x):
    return tf.nn.convolution(x, KERNEL, padding="SAME", dilations=[2, 2])


IMAGES = (None, None, None, 4)
#: By name a function, the shape of its input, and the operation and dilation of each convolution that is left.
JOINED = {
    "open sizes, filled up": (
        lambda x: tf.nn.convolution(x, KERNEL, padding="SAME", dilations=[2, 3]),
        IMAGES,
        [1, 2, 3, 1],
    ),
    "open sizes": (lambda x: tf.nn.convolution(x, KERNEL, padding="VALID", dilations=[3, 2]), IMAGES, [1, 3, 2, 1]),
    "one open size": (lambda x: tf.nn.convolution(x, KERNEL, dilations=[2, 2]), (None, 8, None, 4), [1, 2, 2, 1]),
    "two in a row": (between_sums, IMAGES, [1, 2, 3, 1]),
    "in a called function": (called, IMAGES, [1, 2, 2, 1]),
    "the height alone is moved": (
        lambda x: moved(x, [2], [[3, 1 + rest(x, 1, 2)]], [[0, rest(x, 1, 2)]]),
        IMAGES,
        [1, 2, 1, 1],
    ),
    "a sequence": (lambda x: tf.nn.convolution(x, ROW, padding="SAME", dilations=[2]), (None, None, 4), [1, 1, 2, 1]),
}


def compared(function, shape):
    """Return the graph after joining; it computes the same as before."""
    graph_def = graph_of(function, shape)
    x = tf.constant(samples(*[9 if size is None else size for size in shape[1:]], count=2))
    [before] = graph_function(graph_def, ["x"], [output(graph_def)])(x)
    dilated_convolutions(graph_def)
    [after] = graph_function(graph_def, ["x"], [output(graph_def)])(x)
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    return graph_def


@pytest.mark.parametrize("kind", levels(JOINED, first=list(JOINED)))
def test_it_is_one_operation(kind):
    function, shape, dilations = JOINED[kind]
    graph_def = compared(function, shape)
    assert not MOVES & {node.op for node in graph_def.node}
    found = [list(node.attr["dilations"].list.i) for node in graph_def.node if node.op == "Conv2D"]
    assert found == [dilations] * len(found)
    assert found


def test_depthwise_convolutions_over_open_sizes_are_one_operation():
    graph_def = graph_of(
        lambda x: tf.nn.depthwise_conv2d(x, DEPTH, [1, 1, 1, 1], "SAME", dilations=[2, 2]), (None, None, None, 4)
    )
    dilated_convolutions(graph_def)
    assert not MOVES & {node.op for node in graph_def.node}
    [node] = [node for node in graph_def.node if node.op == "DepthwiseConv2dNative"]
    assert (node.attr["padding"].s, list(node.attr["dilations"].list.i)) == (b"SAME", [1, 2, 2, 1])


STAY = {
    "margins that depend on a size": lambda x: moved(
        x, [2, 2], [[0, rest(x, 1, 2)], [0, rest(x, 2, 2)]], [[0, 0], [0, 0]]
    ),
    "channels that are moved": lambda x: moved(x, [1, 1, 1], [[2, 2], [2, 2], [0, 0]], [[0, 0], [0, 0], [0, 0]]),
}


@pytest.mark.parametrize("kind", STAY)
def test_what_one_convolution_does_not_compute_stays(kind):
    graph_def = graph_of(STAY[kind], IMAGES)
    before = graph_def.SerializeToString(deterministic=True)
    dilated_convolutions(graph_def)
    assert graph_def.SerializeToString(deterministic=True) == before


FIRST = [("DepthwiseConv2D", "same"), ("Conv1D", "causal")]


@pytest.mark.parametrize(("case"), levels(CASES, first=FIRST))
def test_openvino_computes_it_as_one_operation(case, tmp_path):
    model, data = model_of(*case)
    report = kc.export_model(kc.quantize(model, data), tmp_path / "m.xml", data=data, min_sqnr=50)
    assert {row.stored_as for row in report.weights} == {"int8"}
    types = {node.get_type_name() for node in openvino.Core().read_model(tmp_path / "m.xml").get_ordered_ops()}
    assert not {"SpaceToBatch", "BatchToSpace"} & types


def test_openvino_runs_causal_convolutions_over_open_sizes_in_integers(tmp_path):
    keras.utils.set_random_seed(3)
    data = samples(17, 4)
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, layers.Conv1D(5, 3, dilation_rate=2, padding="causal")(inputs))
    report = kc.export_model(kc.quantize(model, data), tmp_path / "m.xml", data=data, min_sqnr=50)
    assert [(row.stored_as, row.runs_in_integers) for row in report.weights] == [("int8", True)]
