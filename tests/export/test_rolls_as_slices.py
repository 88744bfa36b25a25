"""A roll written as slices moves every value where the roll moved it."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress.export.rolls_as_slices import rolls_as_slices
from tests.export.test_tflite_weights import graph_of, run

VALUES = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("shift", "axis"),
    [(1, 1), (-1, 1), (0, 2), (7, 2), (-9, 2), (4, 2), ([1, -1], [1, 2]), ([1, 2], [2, 2]), (1, -1)],
)
def test_the_numbers_are_those_of_the_roll(shift, axis):
    graph = graph_of(lambda x: tf.roll(x, shift, axis), VALUES.shape)
    [source] = [node.name for node in graph.node if node.op == "Placeholder"]
    output = graph.node[-1].name
    rolls_as_slices(graph)
    assert "Roll" not in [node.op for node in graph.node]
    [received] = run(graph, {source: VALUES}, [output])
    np.testing.assert_array_equal(received, np.roll(VALUES, shift, axis))


def test_a_roll_along_an_open_axis_stays():
    graph = graph_of(lambda x: tf.roll(x, 1, 1), (2, None, 4))
    rolls_as_slices(graph)
    assert "Roll" in [node.op for node in graph.node]
