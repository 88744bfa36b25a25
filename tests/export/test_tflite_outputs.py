"""Outputs that other nodes read get a quantizer of their own."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress.export.graph_function import graph_function
from keras_compress.export.tflite_outputs import part_outputs

QUANTIZER = "FakeQuantWithMinMaxVars"


def graph(*, quantized, read):
    with tf.Graph().as_default() as made:
        x = tf.compat.v1.placeholder(tf.float32, (2, 3), name="x")
        value = tf.quantization.fake_quant_with_min_max_vars(x, -1.0, 1.0) if quantized else x * 2.0
        tf.identity(value, name="y")
        if read:
            tf.argmax(value, -1, name="z")
        return made.as_graph_def()


@pytest.mark.parametrize(("quantized", "read", "added"), [(True, True, 1), (True, False, 0), (False, True, 0)])
def test_only_an_output_with_a_grid_that_others_read_is_parted(quantized, read, added):
    before, after = graph(quantized=quantized, read=read), graph(quantized=quantized, read=read)
    part_outputs(after, ["y"])
    kinds = [[node.op for node in one.node].count(QUANTIZER) for one in (before, after)]
    assert kinds[1] - kinds[0] == added
    value = tf.constant(np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3))
    one, other = (graph_function(graph_def, ["x"], ["y"])(value)[0].numpy() for graph_def in (before, after))
    np.testing.assert_allclose(one, other, rtol=1e-5)
