"""Transposed convolutions in TensorFlow Lite files compute in integers, with a scale for each output channel."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.quantized_constants import IntegerConstant
from keras_compress.export.tflite_transposed import with_channel_scales
from tests.levels import levels

layers = keras.layers


def samples(*shape, count=32, seed=1):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def quantized(make, *shapes):
    """Return a quantized model with biases and channels of several sizes, and its samples."""
    keras.utils.set_random_seed(4)
    inputs = [keras.Input(shape) for shape in shapes]
    model = keras.Model(inputs, make(*inputs))
    rng = np.random.default_rng(3)
    for weight in model.weights:
        if "bias" in weight.name:
            weight.assign(rng.normal(size=weight.shape) * 0.3)
        elif "transpose" in weight.name and "kernel" in weight.name:
            weight.assign(weight * np.geomspace(0.1, 2.0, weight.shape[-2]).reshape(-1, 1))
    data = [samples(*shape, seed=number) for number, shape in enumerate(shapes)]
    data = data if len(data) > 1 else data[0]
    return kc.quantize(model, data), data


def operators(path, kind):
    """Return the details of inputs and outputs of the operators of a kind."""
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), experimental_op_resolver_type=plain)
    details = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    return [
        ([details[index] for index in one["inputs"]], details[one["outputs"][0]])
        for one in interpreter._get_ops_details()
        if one["op_name"] == kind
    ]


def assert_in_integers(path, count=1):
    found = operators(path, "TRANSPOSE_CONV")
    assert len(found) == count
    for inputs, output in found:
        _, weights, data, *biases = inputs
        assert [tensor["dtype"].__name__ for tensor in (weights, data, output)] == ["int8"] * 3
        parameters = weights["quantization_parameters"]
        assert parameters["quantized_dimension"] == 0
        assert len(parameters["scales"]) == weights["shape"][0]
        for bias in biases:
            assert bias["dtype"] == np.int32
            scales = bias["quantization_parameters"]["scales"]
            np.testing.assert_allclose(scales, parameters["scales"] * data["quantization"][0], rtol=1e-6)


SHAPES = {"one": (6, 4), "two": (6, 5, 4)}


def transposed(dimensions, channels=5, size=3, **settings):
    kind = layers.Conv1DTranspose if dimensions == "one" else layers.Conv2DTranspose
    return kind(channels, size, **settings)


@pytest.mark.parametrize("batch_size", [None, 1])
@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("dimensions", SHAPES)
def test_it_computes_in_integers(dimensions, padding, strides, channels, batch_size, tmp_path):
    layer = transposed(dimensions, channels, strides=strides, padding=padding)
    model, data = quantized(layer, SHAPES[dimensions])
    report = kc.export_model(model, tmp_path / "m.tflite", batch_size=batch_size, data=data, min_sqnr=30)
    assert [row.runs_in_integers for row in report.weights] == [True]
    assert_in_integers(report.path)


def shared(one, other):
    layer = layers.Conv2DTranspose(3, 3, strides=2)
    return layers.Dense(2)(layers.Flatten()(layers.Concatenate()([layer(one), layer(other)])))


def u_net(x):
    y = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2DTranspose(8, 3, strides=2, padding="same")(y)))
    y = layers.Conv2DTranspose(4, 2, strides=2, activation="relu")(layers.Concatenate()([y, x]))
    return layers.Conv2D(2, 1, activation="softmax")(y)


IMAGE = (6, 6, 3)
NEIGHBOURS = {
    "a rectifier inside": (lambda x: transposed("two", activation="relu")(x), [IMAGE], 1),
    "a rectifier behind": (lambda x: layers.ReLU(6.0)(transposed("two")(x)), [IMAGE], 1),
    "a rectifier in one dimension": (lambda x: layers.ReLU()(transposed("one", strides=2)(x)), [(6, 3)], 1),
    "tanh": (lambda x: transposed("two", strides=2, activation="tanh")(x), [IMAGE], 1),
    "without a bias": (lambda x: transposed("two", use_bias=False)(x), [IMAGE], 1),
    "a batch normalization": (lambda x: layers.BatchNormalization()(transposed("two")(x)), [IMAGE], 1),
    "padding of the output": (lambda x: transposed("two", strides=2, output_padding=1)(x), [IMAGE], 1),
    "each time step": (lambda x: layers.TimeDistributed(transposed("two"))(x), [(2, *IMAGE)], 1),
    "called twice": (shared, [IMAGE, IMAGE], 2),
    "two layers": (u_net, [(8, 8, 3)], 2),
    "a sum": (lambda x: layers.Add()([transposed("two", 3, padding="same")(x), x]), [IMAGE], 1),
}


@pytest.mark.parametrize("io_type", ["float32", "int8"])
@pytest.mark.parametrize("kind", levels(NEIGHBOURS, first=["a rectifier behind", "called twice"]))
def test_it_computes_in_integers_beside_others(kind, io_type, tmp_path):
    make, shapes, count = NEIGHBOURS[kind]
    model, data = quantized(make, *shapes)
    report = kc.export_model(model, tmp_path / "m.tflite", data=data, io_type=io_type, min_sqnr=30)
    assert [row.runs_in_integers for row in report.weights] == [True] * len(report.weights)
    assert_in_integers(report.path, count)


IN_FLOAT = {
    "dilated": (lambda x: transposed("two", dilation_rate=2)(x), [(6, 6, 3)]),
    "three dimensions": (lambda x: layers.Conv3DTranspose(4, 2)(x), [(3, 3, 3, 2)]),
}


@pytest.mark.parametrize("kind", IN_FLOAT)
def test_what_litert_has_no_integers_for_is_stored_in_int8_and_computed_in_floating_point(kind, tmp_path):
    model, data = quantized(*IN_FLOAT[kind][:1], *IN_FLOAT[kind][1])
    report = kc.export_model(model, tmp_path / "m.tflite", data=data, min_sqnr=30)
    assert [row.stored_as for row in report.weights] == ["int8"]


def test_without_samples_it_computes_in_floating_point(tmp_path):
    model, data = quantized(transposed("two"), IMAGE)
    report = kc.export_model(model, tmp_path / "m.tflite", data=data, calibration_data=None, min_sqnr=30)
    assert [(row.stored_as, row.runs_in_integers) for row in report.weights] == [("int8", False)]


def test_the_file_does_not_keep_the_numbers_that_were_exchanged(tmp_path):
    model, _ = quantized(layers.Conv2DTranspose(64, 3), (6, 6, 64))
    path = kc.export_model(model, tmp_path / "m.tflite").path
    assert path.stat().st_size < 1.2 * 64 * 64 * 9


def test_a_file_without_such_a_kernel_says_so(tmp_path):
    model, _ = quantized(transposed("two"), IMAGE)
    content = kc.export_model(model, tmp_path / "m.tflite").path.read_bytes()
    values = np.ones((3, 3, 5, 3), np.int8)
    channels = np.broadcast_to(np.arange(5).reshape(5, 1), values.shape)
    other = IntegerConstant("other", values, channels, np.full(5, 0.1, np.float32), np.zeros(5, np.int32))
    assert with_channel_scales(content, [other])[1] == ["other"]
    assert with_channel_scales(content, []) == (content, [])
