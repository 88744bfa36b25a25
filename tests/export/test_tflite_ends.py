"""Inputs and outputs of TensorFlow Lite files as integers, whatever else reads or makes them."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress._threads import ignored_warnings
from keras_compress.export.frozen_graph import tensor_names
from keras_compress.export.tflite_ends import with_integer_ends
from tests.export.compare import decibels
from tests.levels import levels

layers = keras.layers


def samples(*shape, count=64):
    return np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32)


#: What is made of one input that integers and floats are computed from.
BOTH = {
    "a normalization": (lambda x: [layers.Dense(3)(x), layers.LayerNormalization()(x)], (4,)),
    "a concatenation": (lambda x: layers.Concatenate()([x, layers.Dense(3)(x)]), (4,)),
    "a sum": (lambda x: layers.Add()([x, layers.Dense(4)(x)]), (4,)),
    "an operator": (lambda x: [layers.Dense(3)(x), tf.exp(x)], (4,)),
    "the largest": (lambda x: [layers.Dense(3)(x), tf.argmax(x, -1)], (4,)),
    "an output": (lambda x: [layers.Dense(3)(x), x], (4,)),
    "a recurrent layer": (lambda x: [layers.LSTM(3)(x), layers.Dense(2)(x)], (5, 4)),
    "attention": (lambda x: layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(x, x) + x), (6, 8)),
    "statistics": (lambda x: [layers.Conv2D(3, 3)(x), layers.BatchNormalization()(x)], (6, 6, 3)),
    "pooling": (lambda x: [layers.Conv2D(3, 3)(x), layers.GlobalAveragePooling2D()(x)], (6, 6, 3)),
    "two layers": (lambda x: [layers.Dense(3)(x), layers.Dense(2)(layers.Reshape((4,))(x))], (4,)),
    "an output twice": (lambda x: (lambda y: [y, layers.Activation("linear")(y)])(layers.Dense(3)(x)), (4,)),
}


@pytest.mark.filterwarnings("ignore:TensorFlow Lite runs loops over time")
@pytest.mark.parametrize(("io_type", "batch_size"), [("int8", None), ("uint8", 1)])
@pytest.mark.parametrize("kind", levels(BOTH, first=["a normalization"]))
def test_an_input_may_be_read_as_integers_and_as_floats(kind, io_type, batch_size, tmp_path):
    keras.utils.set_random_seed(2)
    make, shape = BOTH[kind]
    x = keras.Input(shape, name="x")
    model = kc.quantize(keras.Model(x, make(x)), samples(*shape))
    report = kc.export_model(
        model, tmp_path / "m.tflite", io_type=io_type, batch_size=batch_size, data=samples(*shape), min_sqnr=30
    )
    made = [tensor.dtype for tensor in report.outputs]
    assert [tensor.dtype for tensor in report.inputs] == [io_type]
    assert made == ["int64" if tf.as_dtype(one.dtype) == tf.int64 else io_type for one in model.outputs]
    assert [tensor.name for tensor in report.inputs] == ["x"]
    assert [tensor.name for tensor in report.outputs] == list(tensor_names(model).outputs)


def quantized(x, low, high):
    return tf.quantization.fake_quant_with_min_max_vars(x, low, high)


def converted(function, *shapes):
    signature = [tf.TensorSpec(shape, name=f"in{number}") for number, shape in enumerate(shapes)]
    concrete = tf.function(function, input_signature=signature).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    with ignored_warnings():
        return converter.convert()


def run(content, x):
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter.allocate_tensors()
    [end] = interpreter.get_input_details()
    if end["dtype"] != np.float32:
        scale, zero_point = end["quantization"]
        limits = np.iinfo(end["dtype"])
        x = np.clip(np.round(x / scale) + zero_point, limits.min, limits.max).astype(end["dtype"])
    interpreter.set_tensor(end["index"], x)
    interpreter.invoke()
    found = []
    for end in interpreter.get_output_details():
        array, (scale, zero_point) = interpreter.get_tensor(end["index"]), end["quantization"]
        found.append(array if array.dtype == np.float32 else (array.astype(np.float32) - zero_point) * scale)
    return [end["dtype"].__name__ for end in interpreter.get_input_details()], found


WEIGHTS = tf.constant(np.random.default_rng(0).normal(size=(1, 1, 4, 3)).astype(np.float32))


def convolved(x, low, high):
    y = tf.nn.conv2d(quantized(x, low, high), quantized(WEIGHTS, -3.0, 3.0), 1, "VALID")
    return quantized(y, -8.0, 8.0)


FUNCTIONS = {
    "one grid": lambda x: [convolved(x, -3.0, 3.0)],
    "two grids, the first is wider": lambda x: [convolved(x, -3.0, 3.0), convolved(x, -1.0, 1.0)],
    "two grids, the second is wider": lambda x: [convolved(x, -1.0, 1.0), convolved(x, -3.0, 3.0)],
    "floats too": lambda x: [convolved(x, -3.0, 3.0), tf.exp(x), tf.sin(x)],
    "the result is read": lambda x: (lambda y: [y, tf.exp(y)])(convolved(x, -3.0, 3.0)),
}


@pytest.mark.parametrize("io_type", ["int8", "uint8"])
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_it_computes_what_the_file_with_floats_computes(kind, io_type):
    content = converted(FUNCTIONS[kind], (1, 2, 2, 4))
    x = np.clip(samples(2, 2, 4, count=1), -2.9, 2.9)
    [before], expected = run(content, x)
    [after], found = run(with_integer_ends(content, io_type), x)
    assert (before, after) == ("float32", io_type)
    for one, other in zip(expected, found, strict=True):
        assert decibels(one, other) >= 30  # the input is rounded once more


def test_what_has_no_grid_stays_as_it_is():
    content = converted(lambda x: [tf.exp(x)], (1, 4))
    x = samples(4, count=1)
    dtypes, found = run(with_integer_ends(content, "int8"), x)
    assert dtypes == ["float32"]
    np.testing.assert_allclose(found[0], np.exp(x), rtol=1e-5)
