"""Masks of booleans and small integers, turned into numbers and added to scores: OpenVINO files keep the scores."""

import numpy as np
import openvino
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.openvino_conversions import convert_by_way_of_int32
from tests.levels import levels

layers = keras.layers
LENGTH, WIDTH = 6, 4


def _attention(x, mask):
    return layers.MultiHeadAttention(2, 4)(x, x, attention_mask=mask[:, None, :])


def _from_one(x, mask):
    query, key = layers.Dense(WIDTH)(x), layers.Dense(WIDTH)(x)
    scores = tf.matmul(query, key, transpose_b=True) + (1.0 - tf.cast(mask, tf.float32))[:, None, :] * -1e9
    return tf.matmul(tf.nn.softmax(scores), x)


def _inverted(x, mask):
    query, key = layers.Dense(WIDTH)(x), layers.Dense(WIDTH)(x)
    scores = (
        tf.matmul(query, key, transpose_b=True) - tf.cast(tf.cast(mask, tf.float32) < 0.5, tf.float32)[:, None, :] * 1e9
    )
    return tf.matmul(tf.nn.softmax(scores), x)


def _shifted(x, mask):
    scores = layers.Dense(WIDTH)(x) + (tf.cast(mask, tf.float32) - 1.0)[:, :, None] * 1e7
    return layers.Dense(3)(tf.nn.softmax(scores, axis=1))


def _counted(x, mask):
    steps = tf.cast(mask, tf.float32)[:, :, None]
    return tf.reduce_sum(layers.Dense(WIDTH)(x) * steps, 1) / (tf.reduce_sum(steps, 1) + 1e-6)


USES = {
    "attention": _attention,
    "one minus the mask": _from_one,
    "the inverted mask": _inverted,
    "the mask minus one": _shifted,
    "counted": _counted,
}
TYPES = ["bool", "uint8", "int8", "int32", "float32"]


def masked(use, dtype):
    """Return a model whose second input is a mask, and samples of which the last steps are padding."""
    x, mask = keras.Input((LENGTH, WIDTH), name="x"), keras.Input((LENGTH,), dtype=dtype, name="mask")
    hidden = layers.Dense(WIDTH, "relu")(x)
    model = keras.Model([x, mask], layers.Dense(2, name="out")(layers.Flatten()(USES[use](hidden, mask))))
    random = np.random.default_rng(0)
    lengths = random.integers(1, LENGTH + 1, 48)
    samples = random.normal(size=(48, LENGTH, WIDTH)).astype(np.float32)
    return model, [samples, (np.arange(LENGTH) < lengths[:, None]).astype(dtype)]


def assert_right(model, samples, folder):
    compressed = kc.quantize(model, [array[:32] for array in samples])
    report = kc.export_model(compressed, folder / "model.xml", data=[array[32:] for array in samples])
    assert report.comparison.sqnr > 50  # one value at the border of two steps may fall to either side
    return report


@pytest.mark.parametrize("dtype", levels(TYPES, first=["bool"]))
@pytest.mark.parametrize("use", levels(USES, first=["one minus the mask"]))
def test_scores_beside_a_mask(use, dtype, tmp_path):
    assert_right(*masked(use, dtype), tmp_path)


def test_the_mask_of_a_masking_layer_reaches_attention(tmp_path):
    x = keras.Input((LENGTH, WIDTH), name="x")
    shown = layers.Masking()(x)
    pooled = layers.GlobalAveragePooling1D()(layers.MultiHeadAttention(2, 4)(shown, shown))
    samples = np.random.default_rng(0).normal(size=(48, LENGTH, WIDTH)).astype(np.float32)
    samples[np.arange(48), :, :] *= (np.arange(LENGTH) < (np.arange(48) % LENGTH + 1)[:, None])[:, :, None]
    assert_right(keras.Model(x, layers.Dense(2)(pooled)), [samples], tmp_path)


def test_constants_are_converted_as_they_were():
    opset = openvino.opset13
    given = opset.parameter([2, 2], np.uint8)
    stored = opset.convert(opset.constant(np.ones((2, 2), np.int8)), "f32")
    model = openvino.Model([opset.add(opset.convert(given, "f32"), stored)], [given])
    convert_by_way_of_int32(model)
    types = [
        str(node.get_output_element_type(0)) for node in model.get_ordered_ops() if node.get_type_name() == "Convert"
    ]
    assert sorted(types) == ["<Type: 'float32'>", "<Type: 'float32'>", "<Type: 'int32_t'>"]
