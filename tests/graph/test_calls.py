"""Calls of layers with constants, variables and unnamed arguments are kept, whatever layer or function is called."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import build, take
from keras_compress.graph.passes.to_float32 import to_float32
from keras_compress.layers import Parameter
from tests.zoo import normal, sqnr

layers = keras.layers


def half(make):
    return make(tf.cast(normal(1, 8), "float16"))


def counted(strings):
    return tf.cast(tf.strings.length(strings), "float32")[:, tf.newaxis]


def two_inputs(structure):
    a, b = keras.Input((8,), name="a"), keras.Input((8,), name="b")
    outputs = layers.Dense(4)(a) - layers.Dense(4)(b)
    return keras.Model({"a": a, "b": b} if structure is dict else structure((a, b)), outputs)


def attention(**keywords):
    return lambda x: layers.MultiHeadAttention(2, 4)(x, x, **keywords)


class Table(layers.Layer):
    """A layer with a table and several other things among the arguments of its call."""

    def call(self, inputs, table=None, factors=(), mode="add"):
        return inputs + table * factors[0] if mode == "add" else inputs


#: By name what is done to an input of shape ``(batch, 8)``, or ``(batch, 5, 8)``.
FLAT = {
    "a merged tensor": lambda x: layers.Add()([x, normal(1, 8)]),
    "a merged array": lambda x: layers.Add()([x, normal(1, 8).numpy()]),
    "the same twice": lambda x: (lambda add, c: add([add([x, c]), c]))(layers.Subtract(), normal(1, 8)),
    "a nested dict": lambda x: two_inputs(dict)({"a": x, "b": normal(1, 8)}),
    "a nested list": lambda x: two_inputs(list)([normal(1, 8), x]),
    "a nested tuple": lambda x: two_inputs(tuple)((x, normal(1, 8))),
    "keywords": lambda x: Table()(x, table=normal(1, 8), factors=[normal(1, 8), 2.0], mode="add"),
    "integers": lambda x: layers.Embedding(9, 8)(tf.gather(tf.constant([3, 1, 2, 8]), tf.argmax(x[:, :4], -1))),
    "a joined constant": lambda x: tf.concat([x, tf.zeros_like(x) + normal(1, 8)], axis=-1),
    "a condition": lambda x: tf.where(tf.constant([[True, False] * 4]), x, 0.5),
    "a table": lambda x: tf.gather(normal(9, 8), tf.argmax(x, -1)),
    "an operator": lambda x: x * normal(1, 8) + 1.0,
    "a product": lambda x: tf.matmul(x, normal(8, 4)),
    "einsum": lambda x: tf.einsum("bc,cd->bd", x, normal(8, 4)),
    "einsum of three": lambda x: tf.einsum("bc,cd,bd->bd", x, normal(8, 4), layers.Dense(4)(x)),
    "einsum of tensors": lambda x: tf.einsum("bc,bd->bcd", x, layers.Dense(4)(x)),
    "meshgrid": lambda x: tf.add_n([x, *[tf.reduce_mean(g) * tf.ones_like(x) for g in tf.meshgrid(x[0], x[1, :3])]]),
    "meshgrid with keywords": lambda x: x + tf.reduce_mean(tf.meshgrid(x[0], x[1], indexing="ij")[1]),
    "a variable": lambda x: x * tf.Variable(normal(1, 8), name="mine"),
    "integers in a variable": lambda x: tf.gather(x, tf.Variable([3, 1, 2, 0]), axis=1),
    "long integers in a variable": lambda x: tf.gather(x, tf.Variable(np.array([3, 1], np.int64)), axis=1),
    "small integers in a variable": lambda x: (
        x
        * tf.cast(
            tf.gather(tf.Variable(np.array([3, 1, 2, 9], np.uint8)), tf.argmax(x[:, :4], -1))[:, tf.newaxis], "float32"
        )
    ),
    "booleans in a variable": lambda x: tf.where(tf.Variable([[True, False] * 4]), x, 0.5),
    "half precision in a variable": lambda x: tf.cast(tf.cast(x, "float16") * half(tf.Variable), "float32"),
    "half precision": lambda x: tf.cast(half(tf.constant) * tf.cast(x, "float16"), "float32"),
    "bfloat16": lambda x: tf.cast(tf.cast(normal(1, 8), "bfloat16") * tf.cast(x, "bfloat16"), "float32"),
    "double precision": lambda x: tf.cast(tf.cast(normal(1, 8), "float64") * tf.cast(x, "float64"), "float32"),
    "long integers": lambda x: tf.gather(
        x, tf.gather(tf.constant([3, 1, 2], "int64"), tf.argmax(x[0, :3], 0, "int32")[tf.newaxis]), axis=1
    ),
    "complex numbers": lambda x: tf.math.abs(tf.cast(x, "complex64") * tf.complex(normal(1, 8), normal(1, 8))),
    "strings": lambda x: counted(tf.gather(tf.constant(["a", "bé", b"\xff\x00"]), tf.argmax(x[:, :3], -1))),
    "strings by name": lambda x: tf.cast(tf.equal(tf.strings.as_string(x > 0), tf.constant([["true"] * 8])), "float32"),
    "strings of NumPy": lambda x: counted(tf.gather(np.array(["a", "bcd", "ef"]), tf.argmax(x[:, :3], -1))),
    "strings in a variable": lambda x: counted(tf.gather(tf.Variable(["a", "bcd", "ef"]), tf.argmax(x[:, :3], -1))),
    "a variable in a layer": lambda x: layers.Multiply()([x, tf.Variable(normal(1, 8))]),
    "a variable in einsum": lambda x: tf.einsum("bc,cd->bd", x, tf.Variable(normal(8, 4))),
}
SEQUENCES = {
    "a mask": attention(attention_mask=tf.linalg.band_part(tf.ones((1, 5, 5)), -1, 0)),
    "a mask of booleans": attention(attention_mask=np.tril(np.ones((1, 5, 5), bool))),
    "a query": lambda x: layers.MultiHeadAttention(2, 4)(normal(4, 3, 8), x),
    "keys": lambda x: layers.MultiHeadAttention(2, 4)(x, normal(4, 3, 8)),
    "dot attention": lambda x: layers.Attention()([normal(4, 3, 8), x]),
    "a state": lambda x: layers.LSTM(4)(x, initial_state=[normal(4, 4), normal(4, 4)]),
    "a convolution": lambda x: tf.nn.conv1d(x, normal(3, 8, 4), 1, "SAME"),
    "positions": lambda x: x + layers.Embedding(5, 8)(tf.range(5)),
}
CASES = {**{name: ((8,), make) for name, make in FLAT.items()}, **{n: ((5, 8), make) for n, make in SEQUENCES.items()}}


def model_of(case):
    shape, make = CASES[case]
    inputs = keras.Input(shape, name="x")
    model = keras.Model(inputs, layers.Dense(2, name="head")(make(inputs)))
    return model, np.random.RandomState(0).normal(size=(4, *shape)).astype(np.float32)


@pytest.mark.parametrize("case", CASES)
def test_a_rebuilt_call_gives_the_same_numbers(case):
    model, inputs = model_of(case)
    again = build(take(model))
    np.testing.assert_allclose(again(inputs), model(inputs), rtol=1e-6, atol=1e-6)
    third = build(take(again))
    np.testing.assert_allclose(third(inputs), model(inputs), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_the_copy_can_be_saved_and_read(case, tmp_path):
    model, inputs = model_of(case)
    build(take(model)).save(tmp_path / "model.keras")
    read = keras.models.load_model(tmp_path / "model.keras", compile=False, custom_objects={"Table": Table})
    np.testing.assert_allclose(read(inputs), model(inputs), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", ["a merged tensor", "a nested dict", "a mask", "einsum", "a variable"])
def test_a_quantized_model_has_them_too(case):
    model, inputs = model_of(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = kc.quantize(model, inputs, subset_size=4)
    expected, received = model(inputs).numpy(), quantized(inputs).numpy()
    assert sqnr(expected, received) > 25


@pytest.mark.parametrize("case", ["a variable", "a variable in a layer", "a variable in einsum"])
def test_a_variable_is_owned_and_trained_and_not_shared(case):
    model, inputs = model_of(case)
    again = build(take(model))
    [layer] = [layer for layer in again.layers if isinstance(layer, Parameter)]
    assert len(again.trainable_variables) == len(model.trainable_variables) + 1
    expected = model(inputs).numpy()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(again(inputs) ** 2)
    assert np.any(tape.gradient(loss, layer.value))
    layer.value.assign(tf.zeros_like(layer.value))
    np.testing.assert_array_equal(model(inputs), expected)


def test_a_variable_that_is_not_trained_stays_so():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, inputs * tf.Variable(normal(1, 8), trainable=False))
    assert build(take(model)).trainable_variables == []


def test_an_argument_that_cannot_be_written_down_is_an_error_that_names_the_layer():
    class Called(layers.Layer):
        def call(self, inputs, function=None):
            return function(inputs)

    inputs = keras.Input((8,))
    model = keras.Model(inputs, Called(name="called")(inputs, function=lambda x: x + 1.0))
    with pytest.raises(kc.UnsupportedModelError, match=r"(?s)'called' of class Called.*when it is made"):
        take(model)


def test_a_regularizer_that_cannot_be_described_is_an_error_that_names_the_layer():
    class Mine(keras.regularizers.Regularizer):
        def __call__(self, weight):
            return tf.reduce_sum(weight**2)

    for argument in ("kernel_regularizer", "bias_regularizer", "activity_regularizer"):
        model = keras.Sequential([keras.Input((8,)), layers.Dense(2, name="mine", **{argument: Mine()})])
        with pytest.raises(
            kc.UnsupportedModelError, match=rf"'mine' of class Dense.*{argument}.*class Mine.*get_config"
        ):
            kc.coverage(model, {"compression": {"algorithm": "quantization"}})


@pytest.mark.parametrize("suffix", ["onnx", "xml"])
def test_a_layer_that_reads_a_constant_only_is_not_missed_in_a_file(suffix, tmp_path):
    model, inputs = model_of("a nested dict")
    quantized = kc.quantize(model, inputs, subset_size=4)
    report = kc.export_model(quantized, tmp_path / f"model.{suffix}", data=inputs)
    assert report.comparison.sqnr > 40
    assert len(report.weights) == 2


def longest_list(structure):
    if isinstance(structure, dict):
        return max(map(longest_list, structure.values()), default=0)
    if isinstance(structure, (list, tuple)):
        return max([len(structure), *map(longest_list, structure)])
    return 0


LARGE = {
    "a product": lambda x: tf.matmul(x, normal(64, 64)),
    "a product with an array": lambda x: tf.matmul(x, normal(64, 64).numpy()),
    "a product with a variable": lambda x: tf.matmul(x, tf.Variable(normal(64, 64))),
    "a sum": lambda x: x + normal(1, 64),
    "a merged constant": lambda x: layers.Add()([x, normal(1, 64)]),
    "half precision": lambda x: tf.cast(x, "bfloat16") * tf.cast(normal(1, 64), "bfloat16"),
    "a gathered table": lambda x: tf.gather(normal(64, 64), tf.argmax(x, -1)),
}


@pytest.mark.parametrize("case", LARGE)
def test_a_snapshot_holds_arrays_and_not_their_numbers(case):
    inputs = keras.Input((64,), name="x")
    model = keras.Model(inputs, layers.Activation("linear", dtype="float32")(LARGE[case](inputs)))
    samples = np.random.RandomState(0).normal(size=(4, 64)).astype(np.float32)
    snapshot = take(model)
    assert longest_list(snapshot.config) < 16
    again = build(snapshot.edited())
    np.testing.assert_allclose(again(samples), model(samples), rtol=1e-6, atol=1e-6)
    assert longest_list(take(again).config) < 16


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16"])
def test_arrays_among_the_arguments_follow_the_precision_of_a_model(policy):
    inputs = keras.Input((64,), name="x")
    dense = layers.Dense(64, dtype=policy)
    outputs = tf.matmul(dense(inputs), tf.cast(normal(64, 2), dense.compute_dtype))
    model = keras.Model(inputs, layers.Activation("linear", dtype="float32")(outputs))
    samples = np.random.RandomState(0).normal(size=(4, 64)).astype(np.float32)
    made = build(to_float32(take(model)))
    np.testing.assert_allclose(made(samples), model(samples), rtol=0.1, atol=0.5)
