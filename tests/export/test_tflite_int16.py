"""Activations of 16 bits in TensorFlow Lite files: the types in the file, and outputs nearer to the float model than with 8 bits."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import keras_compress as kc
from keras_compress import ExportError
from keras_compress._keras import keras
from keras_compress.export.registry import registered_formats
from tests import zoo
from tests.export.compare import decibels
from tests.levels import levels

layers = keras.layers
Dense = layers.Dense
VECTOR, SEQUENCE, IMAGE = (8,), (10, 4), (8, 8, 3)


def samples(*shape, count=64):
    return np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32)


def sums(x):
    y = layers.ReLU()(layers.Add()([layers.Conv2D(4, 3)(x), layers.Conv2D(4, 3)(x)]))
    return Dense(3, "softmax")(layers.GlobalAveragePooling2D()(y))


#: Models, and how many dB more than with 8 bits they have at least.
MODELS = {
    "dense": (lambda x: Dense(3)(Dense(16, "relu")(x)), VECTOR, 8),
    "without biases": (lambda x: Dense(3, use_bias=False)(Dense(16, "relu", use_bias=False)(x)), VECTOR, 6),
    "sums": (sums, IMAGE, 10),
    "a rectifier up to six": (lambda x: layers.Conv2D(4, 1)(layers.ReLU(6.0)(layers.Conv2D(4, 3)(x))), IMAGE, 8),
    "tanh": (lambda x: Dense(4, "tanh")(Dense(6, "tanh")(x)), VECTOR, 4),
    "sigmoid": (lambda x: Dense(4, "sigmoid")(Dense(6, "sigmoid")(x)), VECTOR, 8),
    "elu": (lambda x: Dense(4, "elu")(Dense(6, "elu")(x)), VECTOR, 6),
    "swish": (lambda x: Dense(4, "swish")(Dense(6, "swish")(x)), VECTOR, 6),
    "depthwise": (lambda x: layers.Conv2D(4, 1)(layers.DepthwiseConv2D(3, padding="same")(x)), IMAGE, 8),
    "transposed": (lambda x: layers.Conv2DTranspose(4, 3, strides=2, activation="relu")(x), IMAGE, 6),
    "transposed in one dimension": (lambda x: layers.Conv1DTranspose(4, 3, strides=2)(x), SEQUENCE, 6),
    "dilated": (lambda x: layers.Conv1D(4, 3, padding="causal", dilation_rate=2)(x), SEQUENCE, 6),
    "grouped": (lambda x: layers.Conv2D(6, 3, groups=3)(x), IMAGE, 6),
    "joined": (
        lambda x: layers.Conv2D(3, 1)(layers.Concatenate()([layers.MaxPooling2D()(x), layers.AveragePooling2D()(x)])),
        IMAGE,
        8,
    ),
    "moved": (lambda x: layers.Conv2D(3, 1)(layers.Permute((2, 1, 3))(layers.ZeroPadding2D(2)(x))), IMAGE, 8),
    "resized": (lambda x: layers.Conv2D(3, 1)(layers.UpSampling2D(2, interpolation="bilinear")(x)), IMAGE, 8),
    "products": (
        lambda x: Dense(3)(layers.Multiply()([Dense(4)(x), Dense(4, "sigmoid")(x)]) - Dense(4)(x) * 0.5),
        VECTOR,
        6,
    ),
    "an LSTM": (lambda x: Dense(2)(layers.LSTM(4)(x)), SEQUENCE, 4),
    "attention": (
        lambda x: layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(x, x) + x),
        SEQUENCE,
        8,
    ),
}


def made(kind):
    """Return a model with biases, its quantized one and its samples."""
    keras.utils.set_random_seed(5)
    make, shape, _ = MODELS[kind]
    x = keras.Input(shape, name="x")
    model, data = keras.Model(x, make(x)), samples(*shape)
    for weight in model.weights:
        if "bias" in weight.name:
            weight.assign_add(np.random.default_rng(2).normal(size=weight.shape) * 0.2)
    return model, kc.quantize(model, data), data


def run(path, data):
    [output] = registered_formats()["tflite"].load(path, None, 1)([data])
    return output


def details(path):
    """Return the tensors that operators make, those that they compute with, and their kinds."""
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), experimental_op_resolver_type=plain)
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    operators = interpreter._get_ops_details()
    outputs = [tensors[one["outputs"][0]] for one in operators]
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
    computing = [one for one in operators if one["op_name"] in kinds]
    return outputs, [[tensors[index] for index in (*one["inputs"], *one["outputs"])] for one in computing]


@pytest.mark.filterwarnings("ignore:TensorFlow Lite runs loops over time")
@pytest.mark.parametrize("kind", levels(MODELS, first=["sums", "tanh", "transposed"]))
def test_it_is_nearer_to_the_float_model_than_with_eight_bits(kind, tmp_path):
    model, quantized, data = made(kind)
    expected = zoo.predict(model, data)[0]
    near = {}
    for name in ("int8", "int16"):
        report = kc.export_model(quantized, tmp_path / f"{name}.tflite", data=data, activation_type=name)
        assert {row.stored_as for row in report.weights} == {"int8"}
        near[name] = decibels(expected, run(report.path, data))
    assert near["int16"] >= near["int8"] + MODELS[kind][2]


WITHOUT_FLOATS = ["dense", "sums", "a rectifier up to six", "depthwise", "transposed", "dilated", "grouped", "joined"]


@pytest.mark.parametrize("kind", levels(WITHOUT_FLOATS, first=["sums", "transposed"]))
def test_activations_are_int16_around_zero_and_weights_int8(kind, tmp_path):
    _, quantized, data = made(kind)
    path = kc.export_model(quantized, tmp_path / "m.tflite", data=data, activation_type="int16").path
    outputs, computing = details(path)
    types = {tensor["dtype"].__name__ for tensor in outputs[:-1]}
    assert "int16" in types
    assert types <= {"int16", "int32", "int64"}  # and integers that shapes are computed with
    for tensor in outputs[:-1]:
        if tensor["dtype"] == np.int16:
            assert tensor["quantization_parameters"]["zero_points"].tolist() == [0]
    for tensors in computing:
        assert {tensor["dtype"].__name__ for tensor in tensors} <= {"int16", "int8", "int32", "int64"}
        assert [tensor["dtype"].__name__ for tensor in tensors].count("int8") == 1
        assert tensors[-1]["dtype"] == np.int16
        assert tensors[1]["dtype"] == np.int8


def test_inputs_and_outputs_can_be_int16(tmp_path):
    _, quantized, data = made("dense")
    options = {"data": data, "activation_type": "int16"}
    report = kc.export_model(quantized, tmp_path / "m.tflite", io_type="int16", **options)
    assert [(one.dtype, one.zero_point) for one in (*report.inputs, *report.outputs)] == [("int16", 0)] * 2
    floats = kc.export_model(quantized, tmp_path / "floats.tflite", **options)
    assert decibels(run(floats.path, data), run(report.path, data)) >= 60


def test_the_file_keeps_no_numbers_of_eight_bits_beside_those_of_sixteen(tmp_path):
    _, quantized, data = made("dense")
    sizes = [
        kc.export_model(quantized, tmp_path / f"{name}.tflite", data=data, activation_type=name).path.stat().st_size
        for name in ("int8", "int16")
    ]
    assert sizes[1] < sizes[0] + 1000


def test_a_model_without_quantizers_stays_in_floating_point(tmp_path):
    model = zoo.dense()
    report = kc.export_model(model, tmp_path / "m.tflite", activation_type="int16", data=zoo.samples(model))
    assert report.comparison.sqnr >= 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation_type": "int4"}, "Activations are int8 or int16.*activation_type='int4'"),
        ({"activation_type": None}, "Activations are int8 or int16.*activation_type=None"),
        ({"activation_type": "int16", "io_type": "int8"}, "io_type='int8', activation_type='int16'"),
        ({"activation_type": "int16", "io_type": "uint8"}, "io_type='uint8', activation_type='int16'"),
        ({"io_type": "int16"}, "io_type='int16', activation_type='int8'"),
    ],
)
def test_types_that_do_not_exist_or_go_together_are_refused(options, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        kc.export_model(zoo.dense(), tmp_path / "m.tflite", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("m.pb", "The format 'frozen_graph' has no option 'activation_type'"),
        ("m.xml", "The format 'openvino' has no option 'activation_type'"),
        ("m.onnx", "Activations are uint8 or int8"),
    ],
)
def test_other_formats_have_no_activations_of_16_bits(file, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        kc.export_model(zoo.dense(), tmp_path / file, activation_type="int16")


def test_integers_that_shapes_are_computed_with_stay(tmp_path):
    x = keras.Input(IMAGE)
    y = layers.Conv2D(4, 3)(x)
    model = keras.Model(x, tf.reshape(y, (-1, 6 * 6 * 4)))
    data = samples(*IMAGE)
    report = kc.export_model(kc.quantize(model, data), tmp_path / "m.tflite", data=data, activation_type="int16")
    assert report.problems == []
