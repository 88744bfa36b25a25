"""Dense layers on stacks of vectors give right numbers in OpenVINO with an open batch, from .xml and .onnx."""

import numpy as np
import openvino
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.frozen_graph import freeze, tensor_names
from keras_compress.export.inference_model import inference_model
from tests import zoo
from tests.export.compare import decibels
from tests.levels import levels

layers = keras.layers


def dense(units, bias, **options):
    return layers.Dense(units, use_bias=bias, **options)


def einsum(units, bias):
    return layers.EinsumDense("abc,cd->abd", (None, units), bias_axes="d" if bias else None)


def heads(units, bias):
    return layers.EinsumDense("abc,cde->abde", (None, 2, units // 2), bias_axes="de" if bias else None)


def timed(units, bias):
    return layers.TimeDistributed(layers.Dense(units, use_bias=bias, activation="relu"))


READERS = {"dense": dense, "einsum": einsum, "heads": heads, "time distributed": timed}
#: Positions and features: as many positions as units, and not.
SHAPES = [(10, 16), (8, 16), (8, 8), (None, 16), (4, 8, 16)]


def several(reader, bias, shape, count=2):
    x = keras.Input(shape)
    return keras.Model(x, [READERS[reader](8, bias)(x) for _ in range(count)])


def quantized(model):
    generator = np.random.default_rng(4)
    for variable in model.trainable_variables:
        variable.assign(generator.normal(0, 0.4, variable.shape))
    return kc.quantize(model, samples(model))


def samples(model, count=6):
    shape = [5 if size is None else size for size in model.inputs[0].shape[1:]]
    return np.random.default_rng(5).normal(size=(count, *shape)).astype(np.float32)


def run_openvino(path, x):
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled({0: x})
    return [found[port] for port in compiled.outputs]


def run_onnx(path, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def assert_right_in_every_runtime(model, folder):
    compressed = quantized(model)
    x = samples(model)
    expected = zoo.predict(compressed, x)
    kc.export_model(compressed, folder / "model.xml")
    kc.export_model(compressed, folder / "model.onnx", calibration_data=None)
    assert decibels(expected, run_openvino(folder / "model.xml", x)) >= 60
    assert decibels(expected, run_onnx(folder / "model.onnx", x)) >= 60
    assert decibels(expected, run_openvino(folder / "model.onnx", x)) >= 60


CASES = [
    (reader, bias, shape)
    for reader in READERS
    for bias in (True, False)
    for shape in SHAPES
    if reader == "dense" or len(shape) == 2
]


@pytest.mark.parametrize(
    "case",
    levels(CASES, first=[("dense", True, (8, 16)), ("time distributed", True, (8, 8)), ("heads", True, (8, 16))]),
)
def test_several_readers_of_one_tensor(case, tmp_path):
    reader, bias, shape = case
    assert_right_in_every_runtime(several(reader, bias, shape), tmp_path)


def added(x):
    return layers.Dense(8)(x) + layers.Dense(8)(x)


def gated(x):
    return layers.Dense(8)(x) * layers.Dense(8, activation="sigmoid")(x)


def attention(x):
    return layers.Attention()([layers.Dense(8)(x), layers.Dense(8)(x), layers.Dense(8)(x)])


def in_a_row(x):
    return layers.Dense(8)(layers.Dense(8, activation="relu")(x))


def flat(x):
    return [layers.Flatten()(layers.Dense(8)(x)), layers.Dense(8)(x)]


def permuted(x):
    return [layers.Permute((2, 1))(layers.Dense(8)(x)), layers.Dense(8)(x)]


def one(x):
    return layers.Dense(8)(x)


def multi_head(x):
    return layers.MultiHeadAttention(2, 8)(x, x)


@pytest.mark.parametrize(
    "make", levels([added, gated, attention, in_a_row, flat, permuted, one, multi_head], first=[added])
)
def test_models_that_read_a_stack(make, tmp_path):
    x = keras.Input((8, 16))
    assert_right_in_every_runtime(keras.Model(x, make(x)), tmp_path)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_reshape_stands_around_the_product(shape):
    x = keras.Input(shape)
    model = keras.Model(x, dense(8, True)(x))
    kinds = [node.op for node in freeze(inference_model(model), tensor_names(model)).node]
    assert "BatchMatMulV2" in kinds
    assert not {"Reshape", "MatMul"} & set(kinds)


def test_reshapes_that_make_other_positions_stay():
    x = keras.Input((8, 16))
    model = keras.Model(x, tf.reshape(layers.Dense(8)(tf.reshape(x, (-1, 16))), (-1, 4, 8)))
    kinds = [node.op for node in freeze(inference_model(model), tensor_names(model)).node]
    assert kinds.count("MatMul") == 1
    assert kinds.count("Reshape") == 2
