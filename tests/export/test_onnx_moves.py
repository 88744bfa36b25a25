"""Quantizers and what moves numbers in ONNX files: OpenVINO computes from the file what ONNX Runtime and Keras compute."""

import onnx
import pytest
from onnx import TensorProto, helper

from keras_compress._keras import keras
from keras_compress.export.onnx_moves import quantize_in_front_of_moves, quantize_in_front_of_transpositions
from tests.export.openvino_files import FACTORS, LEAST, assert_right_in_openvino, quantized
from tests.levels import levels

layers = keras.layers


def timed(layer):
    return layers.TimeDistributed(layer)


LAYERS = {
    "sequence": (lambda **options: layers.Conv1D(8, 3, **options), (10, 16)),
    "causal": (lambda **options: layers.Conv1D(8, 3, padding="causal", **options), (10, 16)),
    "strided": (lambda **options: layers.Conv1D(8, 3, strides=2, padding="same", **options), (10, 16)),
    "dilated": (lambda **options: layers.Conv1D(8, 3, dilation_rate=2, **options), (10, 16)),
    "transposed": (lambda **options: layers.Conv1DTranspose(8, 3, **options), (10, 16)),
    "separable": (lambda **options: layers.SeparableConv1D(8, 3, **options), (10, 16)),
    "depthwise": (lambda **options: layers.DepthwiseConv1D(3, **options), (10, 16)),
    "timed sequence": (lambda **options: timed(layers.Conv1D(8, 3, **options)), (3, 10, 8)),
    "timed image": (lambda **options: timed(layers.Conv2D(4, 3, **options)), (3, 5, 5, 4)),
    "timed dense": (lambda **options: timed(layers.Dense(8, **options)), (3, 6, 8)),
    "image": (lambda **options: layers.Conv2D(4, 3, **options), (5, 5, 4)),
    "transposed image": (lambda **options: layers.Conv2DTranspose(4, 3, **options), (5, 5, 4)),
    "volume": (lambda **options: layers.Conv3D(4, 2, **options), (4, 4, 4, 3)),
    "dense": (lambda **options: layers.Dense(8, **options), (6, 16)),
}
CASES = [
    (layer, bias, activation, size)
    for layer in LAYERS
    for bias in (True, False)
    for activation in (None, "relu", "sigmoid")
    for size in (None, 16)
    if activation is None or bias
]


@pytest.mark.parametrize(
    "case",
    levels(
        CASES,
        first=[
            ("sequence", True, None, None),
            ("transposed", True, None, None),
            ("timed sequence", True, None, None),
            ("sequence", True, "relu", None),
        ],
    ),
)
def test_layers_with_a_quantized_output(case, tmp_path):
    layer, bias, activation, size = case
    make, shape = LAYERS[layer]
    compressed = quantized(make(use_bias=bias, activation=activation), shape)
    assert_right_in_openvino(compressed, shape, tmp_path / "model.onnx", LEAST[".onnx"], batch_size=size)


def sequence():
    return layers.Conv1D(8, 3)


MODELS = {
    "dense behind": (lambda x: layers.Dense(4)(sequence()(x)), (10, 16)),
    "flattened": (lambda x: layers.Dense(4)(layers.Flatten()(sequence()(x))), (10, 16)),
    "permuted": (lambda x: layers.Dense(4)(layers.Permute((2, 1))(sequence()(x))), (10, 16)),
    "reshaped": (lambda x: layers.Dense(4)(layers.Reshape((4, 16))(sequence()(x))), (10, 16)),
    "normalized": (lambda x: layers.BatchNormalization()(sequence()(x)), (10, 16)),
    "in a row": (lambda x: sequence()(sequence()(x)), (10, 16)),
    "two readers": (lambda x: (lambda y: [layers.Dense(4)(y), y])(sequence()(x)), (10, 16)),
    "summed": (lambda x: sequence()(x) + sequence()(x), (10, 16)),
    "a constant added": (lambda x: layers.Dense(4)(layers.Permute((2, 1))(x + FACTORS[:6, None])), (6, 8)),
    "a constant multiplied": (lambda x: layers.Dense(4)(layers.Permute((2, 1))(x * FACTORS[:6, None])), (6, 8)),
    "timed einsum, then timed sequence": (
        lambda x: timed(sequence())(timed(layers.EinsumDense("abc,cd->abd", (None, 8), bias_axes="d"))(x)),
        (3, 10, 16),
    ),
    "timed sequence, then timed einsum": (
        lambda x: timed(layers.EinsumDense("abc,cd->abd", (None, 8), bias_axes="d"))(timed(sequence())(x)),
        (3, 10, 16),
    ),
}


@pytest.mark.parametrize("name", levels(MODELS, first=["dense behind", "timed einsum, then timed sequence"]))
def test_models_around_a_convolution_of_a_sequence(name, tmp_path):
    make, shape = MODELS[name]
    assert_right_in_openvino(quantized(make, shape), shape, tmp_path / "model.onnx", LEAST[".onnx"])


def graph_of(nodes, output):
    numbers = {"b": ([4], [1.0, 2.0, 3.0, 4.0]), "scale": ([], [0.1]), "low": ([], [-1.0]), "high": ([], [1.0])}
    initializers = [helper.make_tensor(name, TensorProto.FLOAT, *number) for name, number in numbers.items()]
    initializers += [
        helper.make_tensor("zero", TensorProto.UINT8, [], [128]),
        helper.make_tensor("shape", TensorProto.INT64, [2], [0, -1]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", output)]
    made = [helper.make_node(kind, inputs, [result]) for kind, inputs, result in nodes]
    return helper.make_graph(made, "graph", ends[:1], ends[1:], initializers)


def kinds(graph):
    onnx.checker.check_graph(graph, onnx.checker.DEFAULT_CONTEXT)
    return [node.op_type for node in graph.node]


@pytest.mark.parametrize(
    ("kind", "moved"),
    [
        ("Add", ["Transpose", "Reshape", "QuantizeLinear"]),
        ("Relu", ["Transpose", "QuantizeLinear", "Reshape"]),
    ],
)
def test_moves_come_in_front_of_the_quantizer(kind, moved):
    graph = graph_of(
        [
            (kind, ["x", "b"] if kind == "Add" else ["x"], "s"),
            ("QuantizeLinear", ["s", "scale", "zero"], "q"),
            ("Transpose", ["q"], "t"),
            ("Reshape", ["t", "shape"], "r"),
            ("DequantizeLinear", ["r", "scale", "zero"], "y"),
        ],
        "y",
    )
    quantize_in_front_of_moves(graph)
    assert kinds(graph) == [kind, *moved, "DequantizeLinear"]


@pytest.mark.parametrize("clip", [False, True])
def test_a_sum_is_quantized_before_it_is_transposed(clip):
    end = "c" if clip else "r"
    graph = graph_of(
        [
            ("Add", ["x", "b"], "s"),
            ("Transpose", ["s"], "t"),
            ("Reshape", ["t", "shape"], "r"),
            *([("Clip", ["r", "low", "high"], "c")] if clip else []),
            ("QuantizeLinear", [end, "scale", "zero"], "q"),
            ("DequantizeLinear", ["q", "scale", "zero"], "y"),
        ],
        "y",
    )
    quantize_in_front_of_transpositions(graph)
    assert kinds(graph) == [
        "Add",
        *(["Clip"] if clip else []),
        *("QuantizeLinear", "DequantizeLinear", "Transpose", "Reshape"),
    ]
    assert graph.node[-1].output[0] == "y"


def test_what_reads_a_transposed_sum_in_floating_point_goes_on_doing_so():
    graph = graph_of(
        [
            ("Add", ["x", "b"], "s"),
            ("Transpose", ["s"], "t"),
            ("QuantizeLinear", ["t", "scale", "zero"], "q"),
            ("DequantizeLinear", ["q", "scale", "zero"], "d"),
            ("Mul", ["t", "d"], "y"),
        ],
        "y",
    )
    quantize_in_front_of_transpositions(graph)
    assert kinds(graph).count("Transpose") == 2
    assert next(node for node in graph.node if node.op_type == "Mul").input[:] == ["t", "d"]


@pytest.mark.parametrize("kind", ["Relu", "MaxPool"])
def test_a_transposition_without_a_sum_stays(kind):
    graph = graph_of(
        [
            (kind, ["x"], "s"),
            ("Transpose", ["s"], "t"),
            ("QuantizeLinear", ["t", "scale", "zero"], "q"),
            ("DequantizeLinear", ["q", "scale", "zero"], "y"),
        ],
        "y",
    )
    quantize_in_front_of_transpositions(graph)
    assert [node.op_type for node in graph.node][1] == "Transpose"
