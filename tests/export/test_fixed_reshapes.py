"""Shapes of reshapes become constants where all sizes but one are known."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress.export.fixed_reshapes import fix_reshapes
from keras_compress.export.graph_editing import shapes_in
from keras_compress.export.graph_function import graph_function


def made(function, shape):
    signature = [tf.TensorSpec(shape, tf.float32, name="x")]
    return tf.function(function, input_signature=signature).get_concrete_function().graph


def kept(x):
    out = tf.reshape(x, (tf.shape(x)[0], -1, 4))
    out.set_shape((None, 3, 4))
    return tf.identity(out, name="y")


def unknown(x):
    return tf.identity(tf.reshape(x, (tf.shape(x)[0], tf.shape(x)[1], -1)), name="y")


@pytest.mark.parametrize(("function", "shape", "fixed"), [(kept, (None, 12), True), (unknown, (None, None, 12), False)])
def test_only_a_shape_with_one_open_size_is_written_down(function, shape, fixed):
    graph = made(function, shape)
    graph_def = graph.as_graph_def()
    fix_reshapes(graph_def, shapes_in(graph))
    [node] = [node for node in graph_def.node if node.op == "Reshape"]
    source = {node.name: node for node in graph_def.node}[node.input[1]]
    assert (source.op == "Const") == fixed
    value = np.arange(24, dtype=np.float32).reshape((2, 12) if len(shape) == 2 else (2, 1, 12))
    before = graph_function(graph.as_graph_def(), ["x"], ["y"])(tf.constant(value))[0]
    after = graph_function(graph_def, ["x"], ["y"])(tf.constant(value))[0]
    np.testing.assert_array_equal(before, after)


def test_a_constant_shape_stays():
    graph = made(lambda x: tf.identity(tf.reshape(x, (-1, 3, 4)), name="y"), (None, 12))
    graph_def = graph.as_graph_def()
    before = graph_def.SerializeToString(deterministic=True)
    fix_reshapes(graph_def, shapes_in(graph))
    assert graph_def.SerializeToString(deterministic=True) == before


def read_off(x):
    return tf.identity(tf.reshape(x, (tf.shape(x)[0], -1, 4)), name="y")


def doubled(x):
    return tf.identity(tf.reshape(x, (2 * tf.shape(x)[0], -1, 3)), name="y")


def in_two_sizes(x):
    batch = tf.shape(x)[0]
    return tf.identity(tf.reshape(tf.matmul(x, x, transpose_b=True), (batch, 1, batch)), name="y")


def not_in_proportion(x):
    return tf.identity(tf.reshape(tf.pad(x, [[1, 0], [0, 0]]), (tf.shape(x)[0] + 1, -1, 4)), name="y")


CASES = [(read_off, [-1, 3, 4]), (doubled, [-1, 2, 3]), (in_two_sizes, None), (not_in_proportion, None)]


@pytest.mark.parametrize(("function", "expected"), CASES)
def test_sizes_for_two_batches_tell_which_of_them_is_the_batch(function, expected):
    graph = made(function, (None, 12))
    graph_def = graph.as_graph_def()
    fix_reshapes(graph_def, shapes_in(graph), lambda batch: shapes_in(made(function, (batch, 12))))
    [node] = [node for node in graph_def.node if node.op == "Reshape"]
    source = {node.name: node for node in graph_def.node}[node.input[1]]
    found = tf.make_ndarray(source.attr["value"].tensor).tolist() if source.op == "Const" else None
    assert found == expected
    for batch in (1, 2, 5):
        value = np.random.default_rng(0).normal(size=(batch, 12)).astype(np.float32)
        before = graph_function(graph.as_graph_def(), ["x"], ["y"])(tf.constant(value))[0]
        after = graph_function(graph_def, ["x"], ["y"])(tf.constant(value))[0]
        np.testing.assert_array_equal(before, after)
