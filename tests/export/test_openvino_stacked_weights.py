"""Layers with one matrix per position or head: stored as integers, and right in OpenVINO with any batch."""

import openvino
import pytest

from keras_compress._keras import keras
from keras_compress.export.openvino_stacked_weights import keep_stacked_weights_in_float
from tests.export.openvino_files import LEAST, assert_right_in_openvino, quantized
from tests.levels import levels

layers = keras.layers

LAYERS = {
    "einsum per position": (lambda **options: layers.EinsumDense("abc,bcd->abd", (6, 8), **options), (6, 16), "d"),
    "einsum per position of stacks": (
        lambda **options: layers.EinsumDense("apbc,bcd->apbd", (None, 6, 8), **options),
        (3, 6, 16),
        "d",
    ),
    "einsum per head": (
        lambda **options: layers.EinsumDense("abhc,hcd->abhd", (None, 2, 8), **options),
        (6, 2, 4),
        "d",
    ),
    "locally connected": (lambda **options: layers.LocallyConnected1D(4, 1, **options), (8, 16), None),
    "locally connected windows": (lambda **options: layers.LocallyConnected1D(4, 3, **options), (8, 16), None),
    "locally connected images": (lambda **options: layers.LocallyConnected2D(4, 3, **options), (6, 6, 3), None),
}
CASES = [
    (layer, bias, front, size, suffix)
    for layer in LAYERS
    for bias in (True, False)
    for front in ("input", "relu")
    for size in (None, 16)
    for suffix in (".xml", ".onnx")
]


def model_of(layer, bias, front, **options):
    make, shape, axes = LAYERS[layer]
    chosen = {"use_bias": bias} if axes is None else {"bias_axes": axes if bias else None}
    activation = {"activation": "relu"} if bias else {}

    def build(x):
        return make(**chosen, **activation)(layers.ReLU()(x) if front == "relu" else x)

    return quantized(build, shape, **options), shape


@pytest.mark.parametrize(
    "case",
    levels(
        CASES,
        first=[
            ("einsum per position", False, "input", None, ".xml"),
            ("einsum per position", False, "relu", None, ".onnx"),
            ("locally connected", True, "relu", None, ".xml"),
            ("locally connected images", True, "input", 16, ".xml"),
        ],
    ),
)
def test_open_and_fixed_batch(case, tmp_path):
    layer, bias, front, size, suffix = case
    compressed, shape = model_of(layer, bias, front)
    path = tmp_path / f"model{suffix}"
    report = assert_right_in_openvino(compressed, shape, path, LEAST[suffix], batch_size=size)
    row = next(row for row in report.weights if "kernel" in row.weight)
    assert row.stored_as == "int8"
    assert not row.runs_in_integers


def two_products(build):
    """Return an OpenVINO model of one product with a weight of integers, and where its scale stands."""
    import numpy as np
    from openvino import opset13

    x = opset13.parameter(openvino.PartialShape([-1, 6, 16]), openvino.Type.f32)
    shape = (6, 16, 8) if build == "stack" else (16, 8) if build == "matrix" else (1, 16, 8)
    integers = opset13.convert(opset13.constant(np.ones(shape, np.int8)), "f32")
    weight = opset13.multiply(integers, opset13.constant(np.full(8, 0.5, np.float32)))
    model = openvino.Model([opset13.matmul(x, weight, False, False)], [x])
    keep_stacked_weights_in_float(model)
    first = weight.input(0).get_source_output().get_node().get_type_name()
    return first == "Constant"


@pytest.mark.parametrize(("build", "first"), [("stack", True), ("matrix", False), ("one matrix", False)])
def test_only_stacks_are_kept_in_float(build, first):
    assert two_products(build) == first
