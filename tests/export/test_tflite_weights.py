"""Quantized weights rewritten for TensorFlow Lite: TensorFlow computes from the new graph what it did from the old one."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.export.frozen_graph import freeze, tensor_names
from keras_compress.export.inference_model import inference_model
from keras_compress.export.tflite_weights import arrange_weights
from keras_compress.graph.passes.dense_to_convolution import dense_to_convolution
from keras_compress.graph.passes.fold_batch_norm import fold_batch_norm
from tests import zoo

layers = keras.layers
RANDOM = np.random.default_rng(0)

KERNEL = RANDOM.normal(size=(3, 3, 2, 4)).astype(np.float32)
MATRIX = RANDOM.normal(size=(6, 4)).astype(np.float32)
SCALES = np.float32([0.01, 0.02, 0.005, 0.03])
PER_CHANNEL = "FakeQuantWithMinMaxVarsPerChannel"


def symmetric(values, bits=8, scales=SCALES):
    top = np.float32(2 ** (bits - 1) - 1)
    scales = scales * 127 / top
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(values, -top * scales, top * scales, bits, True)


def asymmetric(values):
    zero_points = np.float32([100, 128, 30, 200])
    low, high = -zero_points * SCALES, (255 - zero_points) * SCALES
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(values, low, high, 8)


def graph_of(function, *shapes, dtype=tf.float32):
    """Return the graph of a function; its result is the node ``y``."""
    specs = [tf.TensorSpec(shape, dtype, name=f"x{number}") for number, shape in enumerate(shapes)]
    named = tf.function(lambda *inputs: tf.identity(function(*inputs), name="y"), specs, autograph=False)
    return named.get_concrete_function().graph.as_graph_def()


def run(graph, inputs, outputs=("y",)):
    imported = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    function = imported.prune([f"{name}:0" for name in inputs], [f"{name}:0" for name in outputs])
    return [tensor.numpy() for tensor in function(*map(tf.constant, inputs.values()))]


def arranged(graph):
    copy = tf.compat.v1.GraphDef()
    copy.CopyFrom(graph)
    arrange_weights(copy)
    return copy


def kinds(graph):
    return [node.op for node in graph.node]


def assert_same(before, after, inputs, outputs=("y",)):
    for expected, received in zip(run(before, inputs, outputs), run(after, inputs, outputs), strict=True):
        assert len(np.unique(expected)) > 2
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def images(shape=(2, 6, 6, 2)):
    return {"x0": RANDOM.normal(size=shape).astype(np.float32)}


def convolution(x, kernel):
    return tf.nn.conv2d(x, kernel, 1, "VALID")


def assert_kept(graph):
    """Check that every node is as it was, and that what is new makes a zero that nothing reads."""
    after = arranged(graph)
    assert list(after.node)[: len(graph.node)] == list(graph.node)
    assert all(node.name.split("/")[0] == "zero" for node in list(after.node)[len(graph.node) :])


def stored_plainly(graph):
    """Return the integers behind which a graph has operations that make floats of them."""
    return [
        tf.make_ndarray(node.attr["value"].tensor)
        for node in graph.node
        if node.op == "Const" and tf.as_dtype(node.attr["dtype"].type) in (tf.int8, tf.uint8)
    ]


# What stays as it is


def test_a_quantizer_in_front_of_a_convolution_stays():
    graph = graph_of(lambda x: convolution(x, symmetric(KERNEL)), (None, 6, 6, 2))
    assert_kept(graph)


def test_a_quantizer_with_one_scale_stays_wherever_it_is():
    def function(x):
        return x @ tf.transpose(tf.quantization.fake_quant_with_min_max_vars(MATRIX.T.copy(), -1.27, 1.27, 8, True))

    graph = graph_of(function, (None, 6))
    assert_kept(graph)


def test_a_graph_without_quantizers_stays():
    graph = graph_of(lambda x: convolution(x, KERNEL), (None, 6, 6, 2))
    assert arranged(graph) == graph


def test_quantizers_of_activations_stay():
    graph = graph_of(lambda x: tf.quantization.fake_quant_with_min_max_vars_per_channel(x, -SCALES, SCALES), (None, 4))
    assert_kept(graph)


# Constants that are moved on their way to a convolution


@pytest.mark.parametrize("bits", [3, 8])
def test_a_transposed_constant_is_quantized_in_front_of_the_convolution(bits):
    stored = np.ascontiguousarray(np.transpose(KERNEL, (1, 0, 2, 3)))

    def function(x):
        return convolution(x, tf.transpose(symmetric(stored, bits), (1, 0, 2, 3)))

    before = graph_of(function, (None, 6, 6, 2))
    after = arranged(before)
    assert_same(before, after, images())
    nodes = {node.name: node for node in after.node}
    [conv] = [node for node in after.node if node.op == "Conv2D"]
    quantizer = nodes[conv.input[1]]
    assert quantizer.op == PER_CHANNEL
    assert nodes[quantizer.input[0]].op == "Const"


@pytest.mark.parametrize(
    "move",
    [
        lambda q: tf.reshape(q, (3, 3, 2, 4)),
        lambda q: tf.squeeze(tf.expand_dims(tf.reshape(q, (3, 3, 2, 4)), 0), [0]),
        lambda q: tf.identity(tf.reshape(q, (3, 3, 2, 4))),
    ],
    ids=["reshaped", "expanded and squeezed", "passed on"],
)
@pytest.mark.parametrize("quantize", [symmetric, asymmetric])
def test_every_move_is_carried_out_on_the_constant(move, quantize):
    before = graph_of(lambda x: convolution(x, move(quantize(KERNEL.reshape(9, 2, 4)))), (None, 6, 6, 2))
    after = arranged(before)
    assert_same(before, after, images())
    nodes = {node.name: node for node in after.node}
    [conv] = [node for node in after.node if node.op == "Conv2D"]
    assert nodes[nodes[conv.input[1]].input[0]].op == "Const"
    assert stored_plainly(after) == []


def test_every_convolution_that_reads_a_constant_gets_it():
    def function(x):
        kernel = tf.reshape(symmetric(KERNEL.reshape(18, 4)), (3, 3, 2, 4))
        return tf.concat([convolution(x, kernel), convolution(2 * x, kernel)], -1)

    before = graph_of(function, (None, 6, 6, 2))
    after = arranged(before)
    assert_same(before, after, images())
    nodes = {node.name: node for node in after.node}
    convolutions = [node for node in after.node if node.op == "Conv2D"]
    assert [nodes[node.input[1]].op for node in convolutions] == [PER_CHANNEL] * 2


def test_a_depthwise_kernel_with_one_scale_per_channel_and_multiplier():
    kernel = RANDOM.normal(size=(3, 3, 2, 2)).astype(np.float32)

    def function(x):
        return tf.nn.depthwise_conv2d(
            x, tf.reshape(symmetric(kernel.reshape(3, 3, 4)), (3, 3, 2, 2)), (1,) * 4, "VALID"
        )

    before = graph_of(function, (None, 6, 6, 2))
    assert_same(before, arranged(before), images())


# Constants that something else reads


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_matrix_is_stored_as_plain_integers(transposed, bits):
    def function(x):
        matrix = symmetric(MATRIX, bits)
        return tf.matmul(x, tf.transpose(matrix) if transposed else matrix)

    shape = (3, 4 if transposed else 6)
    before = graph_of(function, (None, shape[1]))
    after = arranged(before)
    assert_same(before, after, images(shape))
    assert PER_CHANNEL not in kinds(after)
    [integers] = stored_plainly(after)
    top = 2 ** (bits - 1) - 1
    by_hand = np.clip(np.round(MATRIX / (SCALES * 127 / top)), -top, top)
    np.testing.assert_array_equal(integers, by_hand.reshape(-1))


def test_a_matrix_with_zero_points_is_stored_as_plain_integers():
    before = graph_of(lambda x: x @ asymmetric(MATRIX), (None, 6))
    after = arranged(before)
    assert_same(before, after, images((3, 6)))
    assert [array.dtype for array in stored_plainly(after)] == [np.uint8]
    assert "Sub" in kinds(after)


def test_a_constant_read_by_a_convolution_and_by_something_else():
    def function(x):
        kernel = symmetric(KERNEL)
        return convolution(x, kernel) + tf.reduce_sum(kernel)

    before = graph_of(function, (None, 6, 6, 2))
    assert_same(before, arranged(before), images())


def test_a_constant_whose_channels_are_torn_apart():
    before = graph_of(lambda x: convolution(x, tf.reshape(symmetric(MATRIX), (2, 2, 6, 1))), (None, 6, 6, 6))
    assert_same(before, arranged(before), images((2, 6, 6, 6)))


def test_several_matrices_share_one_zero():
    before = graph_of(lambda x: x @ symmetric(MATRIX) @ tf.transpose(symmetric(MATRIX)), (None, 6))
    after = arranged(before)
    assert_same(before, after, images((3, 6)))
    names = [node.name for node in after.node]
    assert names.count("zero") == 1
    assert len(names) == len(set(names))


@pytest.mark.parametrize("value", [0.0, 5.0, -7.5, 1e30, -1e30])
def test_the_start_of_the_slice_is_zero_whatever_the_input(value):
    after = arranged(graph_of(lambda x: x @ symmetric(MATRIX), (None, 6)))
    inputs = {"x0": np.full((2, 6), value, np.float32)}
    np.testing.assert_array_equal(run(after, inputs, ["zero"])[0], [0])


def test_the_start_of_the_slice_may_depend_on_integers():
    before = graph_of(
        lambda x: tf.gather(tf.constant(MATRIX), x) @ tf.transpose(symmetric(MATRIX)), (None,), dtype=tf.int32
    )
    assert_same(before, arranged(before), {"x0": np.int32([5, 0, 3])})


def test_the_graph_is_still_valid_for_an_input_of_any_batch():
    before = graph_of(lambda x: x @ symmetric(MATRIX), (None, 6))
    after = arranged(before)
    for batch in (1, 4):
        assert_same(before, after, images((batch, 6)))


# Operations of weights that are not quantized


@pytest.mark.parametrize("bias", [False, True])
def test_they_get_something_added_that_keeps_the_converter_from_quantizing_them(bias):
    def function(x):
        hidden = convolution(x, symmetric(KERNEL))
        out = convolution(hidden, KERNEL.transpose(0, 1, 3, 2).copy())
        return tf.nn.bias_add(out, [1.0, -2.0]) if bias else out

    before = graph_of(function, (None, 6, 6, 2))
    after = arranged(before)
    assert_same(before, after, images())
    added = [node for node in after.node if node.op == "AddV2"]
    assert [node.input[1] for node in added] == ["zero/at_least"]
    nodes = {node.name: node for node in after.node}
    assert nodes[added[0].input[0]].op == ("BiasAdd" if bias else "Conv2D")
    assert nodes["y"].input[0] == added[0].name


# Whole models


def frozen(model):
    inference = inference_model(model, fold_batch_norm, dense_to_convolution)
    return freeze(inference, tensor_names(model), batch_size=3, lower_control_flow=False)


def inputs_of(model):
    flat = tf.nest.flatten(zoo.samples(model, 3))
    return dict(zip(model.input_names, flat, strict=True))


@zoo.every_kind
def test_the_outputs_of_every_model_stay(kind):
    _, model = zoo.compressed_once(kind)
    before = frozen(model)
    assert_same(before, arranged(before), inputs_of(model), tensor_names(model).outputs)


def memory():
    x = keras.Input((5, 3), name="x")
    return keras.Model(x, layers.Bidirectional(layers.LSTM(4), name="lstm")(x))


def einsum():
    x = keras.Input((5, 4), name="x")
    return keras.Model(x, layers.EinsumDense("abc,cde->abde", (None, 2, 3), name="einsum")(x))


@pytest.mark.parametrize("weights", [{}, {"mode": "asymmetric"}, {"bits": 4}])
@pytest.mark.parametrize("make", [memory, einsum, zoo.odd_convolutions])
def test_the_outputs_of_models_with_other_operations_stay(make, weights):
    _, model = zoo.compress(make(), weights=weights)
    before = frozen(model)
    after = arranged(before)
    assert_same(before, after, inputs_of(model), tensor_names(model).outputs)
    if make is not zoo.odd_convolutions:
        assert stored_plainly(after)
