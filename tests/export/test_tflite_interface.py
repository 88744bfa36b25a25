"""What TensorFlow Lite files take and give: the runtime's own operators, integers where asked for, scales in the report."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import keras_compress as kc
from keras_compress import ExportError
from keras_compress._keras import keras

layers = keras.layers


def samples(*shape, count=16):
    return np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32)


# Operators

FOREIGN = {
    "MaxPool3D": (lambda x: layers.MaxPooling3D(name="pool")(layers.Conv3D(2, 2)(x)), (5, 5, 5, 1), "pool"),
    "BesselI0e": (lambda x: layers.Dense(2)(tf.math.bessel_i0e(layers.Dense(3)(x))), (4,), r"tf\.math\.bessel_i0e"),
}


@pytest.mark.parametrize("operator", FOREIGN)
def test_operators_that_only_tensorflow_has_are_refused_by_name_and_layer(operator, tmp_path):
    make, shape, layer = FOREIGN[operator]
    x = keras.Input(shape)
    model = kc.quantize(keras.Model(x, make(x)), samples(*shape))
    with pytest.raises(ExportError, match=rf"no operator '{operator}' for layer '{layer}.*choose another format"):
        kc.export_model(model, tmp_path / "model.tflite", calibration_data=samples(*shape))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_xnnpack_refuses_is_an_error_that_names_tensor_and_remedy(tmp_path):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4, "relu", name="first"), layers.Dense(3)])
    data = samples(8)
    quantized = kc.quantize(model, data)
    for variable in quantized.variables:
        if variable.name == "first_quantizer/scale:0":
            variable.assign(1e-4)
        elif variable.name.startswith("first/kernel"):
            variable.assign(variable * 1e3 if "signed" not in variable.name else variable)
    with pytest.raises(
        ExportError, match=r"with XNNPACK.*refuses(.|\n)*scales of '.*first.*256(.|\n)*measure these ranges again"
    ):
        kc.export_model(quantized, tmp_path / "model.tflite", calibration_data=data)


# Integers at the edges

FIRST = {
    "LSTM": (lambda x: layers.LSTM(4, name="first")(x), (5, 8)),
    "GRU": (lambda x: layers.GRU(4, name="first")(x), (5, 8)),
    "LayerNormalization": (lambda x: layers.LayerNormalization(name="first")(x), (8,)),
}


def warnings_of(export):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = export()
    return report, [str(one.message) for one in caught if "has no effect" in str(one.message)]


@pytest.mark.parametrize("io_type", ["int8", "uint8"])
@pytest.mark.parametrize("kind", FIRST)
def test_an_input_that_stays_in_floating_point_is_named_with_its_layer(kind, io_type, tmp_path):
    make, shape = FIRST[kind]
    x = keras.Input(shape, name="x")
    model = kc.quantize(keras.Model(x, layers.Dense(3, name="out")(make(x))), samples(*shape))
    report, messages = warnings_of(
        lambda: kc.export_model(
            model, tmp_path / "m.tflite", calibration_data=samples(*shape), io_type=io_type, strict=False
        )
    )
    assert [tensor.dtype for tensor in report.outputs] == [io_type]
    if report.inputs[0].dtype == "float32":
        [message] = messages
        assert "input 'x'" in message
        assert "'first'" in message
    else:
        assert messages == []


ENDS = {
    "dense": lambda x: layers.Dense(3)(x),
    "scaled": lambda x: layers.Dense(3)(x) * 40.0,
    "softmax": lambda x: layers.Dense(3, "softmax")(x),
    "softplus": lambda x: layers.Dense(3, "softplus")(x),
    "recurrent": lambda x: layers.LSTM(3)(layers.Reshape((1, 6))(layers.Dense(6)(x))),
    "nested": lambda x: keras.Sequential([keras.Input((8,)), layers.Dense(3), layers.Activation("exponential")])(x),
    "normalized": lambda x: layers.LayerNormalization()(layers.Dense(3)(x)),
}


@pytest.mark.parametrize("end", ENDS)
def test_every_kind_of_output_becomes_an_integer_with_a_range_of_its_own(end, tmp_path):
    keras.utils.set_random_seed(2)
    x = keras.Input((8,), name="x")
    model = kc.quantize(keras.Model(x, ENDS[end](x)), samples(8))
    report, messages = warnings_of(
        lambda: kc.export_model(
            model, tmp_path / "m.tflite", calibration_data=samples(8), data=samples(8), io_type="int8"
        )
    )
    assert messages == []
    assert [tensor.dtype for tensor in (*report.inputs, *report.outputs)] == ["int8", "int8"]
    assert report.comparison.sqnr >= 25


def test_without_samples_an_output_that_stays_in_floating_point_is_named(tmp_path):
    x = keras.Input((8,), name="x")
    model = kc.quantize(keras.Model(x, layers.Dense(3, name="out")(x)), samples(8))
    report, messages = warnings_of(
        lambda: kc.export_model(model, tmp_path / "m.tflite", io_type="int8", calibration_data=None, strict=False)
    )
    assert report.outputs[0].dtype == "float32"
    assert any("output 'out'" in message and "calibration_data=" in message for message in messages)


READ_AGAIN = {
    "the largest of a softmax": (lambda x: layers.Dense(3, "softmax")(x), lambda y: tf.argmax(y, -1), "int64"),
    "the largest of a product": (lambda x: layers.Dense(3)(x), lambda y: tf.argmax(y, -1), "int64"),
    "an exponential": (lambda x: layers.Dense(3)(x), lambda y: tf.exp(y), "int8"),
    "another layer": (lambda x: layers.Dense(3, "relu")(x), lambda y: layers.Dense(2)(y), "int8"),
}


@pytest.mark.parametrize("kind", READ_AGAIN)
def test_an_output_may_be_read_by_what_makes_another(kind, tmp_path):
    keras.utils.set_random_seed(2)
    first, second, dtype = READ_AGAIN[kind]
    x = keras.Input((8,), name="x")
    y = first(x)
    model = kc.quantize(keras.Model(x, [y, second(y)]), samples(8))
    report, messages = warnings_of(
        lambda: kc.export_model(
            model, tmp_path / "m.tflite", calibration_data=samples(8), data=samples(8), io_type="int8"
        )
    )
    assert messages == []
    assert [tensor.dtype for tensor in report.outputs] == ["int8", dtype]
    assert report.comparison.sqnr >= 25


# The report


def several():
    a, b = keras.Input((8,), name="a"), keras.Input((6,), name="b")
    outputs = [layers.Dense(2, name="z")(b), layers.Dense(5, "softmax", name="y")(a), layers.Dense(3, name="x")(a)]
    return keras.Model([b, a], outputs)


@pytest.mark.parametrize("io_type", ["float32", "int8", "uint8"])
def test_the_report_has_the_scales_of_inputs_and_outputs_in_the_order_of_the_model(io_type, tmp_path):
    keras.utils.set_random_seed(2)
    model = several()
    data = [samples(6) * 3, samples(8)]
    quantized = kc.quantize(model, data)
    report = kc.export_model(quantized, tmp_path / "m.tflite", calibration_data=data, io_type=io_type)
    assert [tensor.name for tensor in report.inputs] == ["b", "a"]
    assert [tensor.shape[-1] for tensor in report.inputs] == [6, 8]
    assert [tensor.name for tensor in report.outputs] == list(model.output_names)
    assert [tensor.shape[-1] for tensor in report.outputs] == [2, 5, 3]
    interpreter = Interpreter(str(report.path))
    by_size = {
        int(one["shape"][-1]): one for one in (*interpreter.get_input_details(), *interpreter.get_output_details())
    }
    for tensor in (*report.inputs, *report.outputs):
        details = by_size[tensor.shape[-1]]
        assert tensor.dtype == details["dtype"].__name__ == io_type
        if io_type == "float32":
            assert tensor.scale is None
        else:
            assert (tensor.scale, tensor.zero_point) == details["quantization"]
    text = str(report)
    assert ("zero point" in text) == (io_type != "float32")
    assert report.to_dict()["inputs"][0]["name"] == "b"
