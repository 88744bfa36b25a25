"""BinaryMask: what it keeps, what it hands back in the backward pass, its variables and its description."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import deserialize, keras, serialize
from keras_compress.layers import BinaryMask, CompressedLayer, SymmetricFakeQuantize
from keras_compress.layers.weight_op import Stage


def masked(mask, **options):
    op = BinaryMask(**options)
    op.build(tf.TensorShape(mask.shape))
    op.mask.assign(mask)
    return op


@pytest.fixture
def mask():
    return np.random.default_rng(0).random((6, 4)) < 0.5


def random_values(shape=(6, 4), seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_it_keeps_what_the_mask_says(mask):
    op, values = masked(mask), random_values()
    np.testing.assert_array_equal(op(values), values * mask)
    np.testing.assert_array_equal(op.kept(), mask)
    assert op.kept().dtype == bool


def test_gradients_reach_masked_weights_too(mask):
    op, values, upstream = masked(mask), tf.constant(random_values()), random_values(seed=2)
    with tf.GradientTape() as tape:
        tape.watch(values)
        out = op(values)
    np.testing.assert_array_equal(tape.gradient(out, values, tf.constant(upstream)), upstream)


def test_a_new_one_keeps_everything():
    op = BinaryMask()
    op.build((3, 2))
    assert op.kept().all()
    assert float(op.level) == 0.0
    assert not op.frozen
    assert int(op.epochs_met) == 0


def test_its_variables_are_not_trained(mask):
    op = masked(mask)
    assert op.trainable_variables == []
    assert {(v.name.split(":")[0], v.dtype) for v in op.variables} == {
        ("level", tf.float32),
        ("frozen", tf.bool),
        ("epochs_met", tf.int32),
        ("mask", tf.bool),
    }


@pytest.mark.parametrize("input_axis", [None, 0, 2])
def test_its_description_survives_json(input_axis):
    op = BinaryMask(input_axis=input_axis, name="kernel_mask")
    again = deserialize(json.loads(json.dumps(serialize(op))))
    assert type(again) is BinaryMask
    assert again.get_config() == op.get_config()
    assert again.input_axis == input_axis


def test_a_mask_comes_before_a_quantizer_however_they_are_listed(mask):
    quantizer = SymmetricFakeQuantize(num_bits=8, narrow_range=True, channel_axes=(-1,), name="quantizer")
    assert BinaryMask.stage == Stage.MASK < quantizer.stage
    layer = CompressedLayer(keras.layers.Dense(4), [("kernel", quantizer), ("kernel", BinaryMask(name="mask"))])
    layer.build((None, 6))
    assert [op.name for _, op in layer.operations] == ["mask", "quantizer"]
    layer.weight_ops[0].mask.assign(mask)
    np.testing.assert_array_equal(layer.compressed_weight("kernel").numpy()[~mask], 0.0)
    assert np.count_nonzero(layer.integer_weight("kernel").values[~mask]) == 0


def test_a_masked_weight_is_on_no_integer_grid(mask):
    assert masked(mask).to_integer(random_values()) is None
