"""Conditions that depend on constants alone are replaced by the branch that is taken; others stay."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress.export.constant_branches import take_constant_branches

VALUES = np.float32([1.0, -2.0, 3.0])


def turned(x, k):
    """Choose by nested conditions, as tf.image.rot90 does."""
    k = tf.constant(k) % 4
    return tf.case([(tf.equal(k, 1), lambda: x + 1.0), (tf.equal(k, 2), lambda: x * 2.0)], default=lambda: -x)


def graph_of(function):
    traced = tf.function(function).get_concrete_function(tf.TensorSpec([3], tf.float32, "x"))
    return traced.graph.as_graph_def(), traced.graph.outputs[0].name


def run(graph_def, output):
    with tf.Graph().as_default() as graph:
        (result,) = tf.import_graph_def(graph_def, return_elements=[output], name="")
        with tf.compat.v1.Session(graph=graph) as session:
            return session.run(result, {"x:0": VALUES})


def branches(graph_def):
    return [node.op for node in graph_def.node if node.op in ("If", "StatelessIf")]


@pytest.mark.parametrize(("k", "expected"), [(1, VALUES + 1), (6, VALUES * 2), (3, -VALUES)])
def test_the_branch_that_is_taken_is_left(k, expected):
    graph_def, output = graph_of(lambda x: turned(x, k))
    assert branches(graph_def)
    take_constant_branches(graph_def)
    assert branches(graph_def) == []
    np.testing.assert_array_equal(run(graph_def, output), expected)


def test_a_condition_on_the_inputs_stays():
    graph_def, output = graph_of(lambda x: tf.cond(tf.reduce_sum(x) > 0.0, lambda: x + 1.0, lambda: -x))
    before = graph_def.SerializeToString(deterministic=True)
    take_constant_branches(graph_def)
    assert graph_def.SerializeToString(deterministic=True) == before
    np.testing.assert_array_equal(run(graph_def, output), VALUES + 1)
