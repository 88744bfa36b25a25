"""BinaryWeight and BinaryActivation: off until switched on, then their numbers, gradients and integers."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import deserialize, keras, serialize
from keras_compress.layers import BinaryActivation, BinaryWeight, observed
from keras_compress.layers.weight_op import Stage
from tests.binary import activation_gradients, binary_activation, binary_weight

# Shape of a kernel, its channel axes, and the axes that XNOR-Net takes the mean over.
KERNELS = {
    "Conv1D": ((3, 4, 5), (-1,), (0, 1)),
    "Conv2D": ((3, 2, 4, 5), (-1,), (0, 1, 2)),
    "DepthwiseConv2D": ((3, 2, 4, 2), (-2, -1), (0, 1)),
    "Dense": ((4, 5), (-1,), (0,)),
}


def random_values(shape=(6, 5, 4), seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


def weight_op(shape, axes, active=True):
    op = BinaryWeight(axes)
    op.build(shape)
    op.active.assign(active)
    return op


def activation_op(channels=4, log_scale=0.3, logits=None, active=True):
    op = BinaryActivation()
    op.build((None, None, channels))
    op.log_scale.assign(log_scale)
    op.threshold_logits.assign(np.linspace(-2, 2, channels) if logits is None else logits)
    op.active.assign(active)
    return op


@pytest.mark.parametrize("kind", KERNELS)
@pytest.mark.parametrize("mode", ["xnor", "dorefa"])
def test_a_weight_has_a_scale_per_filter_or_one(kind, mode):
    shape, channels, others = KERNELS[kind]
    weight = random_values(shape)
    op = weight_op(shape, channels if mode == "xnor" else None)
    axes = others if mode == "xnor" else tuple(range(len(shape)))
    np.testing.assert_allclose(op(weight), binary_weight(weight, axes), rtol=1e-5)


@pytest.mark.parametrize("active", [False, True])
def test_the_gradient_to_a_weight_is_the_identity(active):
    weight, upstream = tf.constant(random_values()), random_values(seed=1)
    op = weight_op(weight.shape, (-1,), active)
    with tf.GradientTape() as tape:
        tape.watch(weight)
        total = tf.reduce_sum(op(weight) * upstream)
    np.testing.assert_array_equal(tape.gradient(total, weight), upstream)


def test_what_is_not_active_passes_everything_through_bit_for_bit():
    values = random_values()
    values[0, 0] = [0.0, -0.0, 1e-38, 3e38]
    for op in (weight_op(values.shape, (-1,), active=False), activation_op(active=False)):
        assert op(values).numpy().tobytes() == values.tobytes()


def test_a_traced_function_sees_when_it_is_switched_on():
    values = random_values()
    for op in (weight_op(values.shape, (-1,), active=False), activation_op(active=False)):
        run = tf.function(op)
        np.testing.assert_array_equal(run(values), values)
        op.active.assign(True)
        np.testing.assert_array_equal(run(values), op(values))
        assert np.abs(run(values) - values).max() > 0.1


def test_an_activation_is_zero_or_the_scale():
    x = random_values(scale=2.0)
    op = activation_op()
    out = op(x).numpy()
    scale, thresholds = np.exp(np.float32(0.3)), 1 / (1 + np.exp(-np.linspace(-2, 2, 4)))
    np.testing.assert_allclose(out, binary_activation(x, scale, thresholds), rtol=1e-6)
    assert set(np.unique(out)) == {np.float32(0), op.levels()[0].numpy()}


def test_gradients_to_scale_and_thresholds_follow_the_chain_rule():
    x, upstream = random_values(scale=2.0), random_values(seed=1)
    op = activation_op()
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_sum(op(inputs) * upstream)
    received = tape.gradient(total, [inputs, op.log_scale, op.threshold_logits])
    scale, thresholds = np.exp(0.3), 1 / (1 + np.exp(-np.linspace(-2, 2, 4)))
    d_x, d_scale, d_thresholds = activation_gradients(x, scale, thresholds, upstream)
    expected = (d_x, d_scale * scale, d_thresholds * thresholds * (1 - thresholds))
    for ours, theirs in zip(received, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_while_it_is_off_its_input_gets_the_whole_gradient_and_its_variables_none():
    x, upstream = tf.constant(random_values(scale=3.0)), random_values(seed=1)
    op = activation_op(active=False)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(op(x) * upstream)
    d_x, d_scale, d_logits = tape.gradient(total, [x, op.log_scale, op.threshold_logits])
    np.testing.assert_array_equal(d_x, upstream)
    assert float(d_scale) == 0.0
    np.testing.assert_array_equal(d_logits, np.zeros(4))


@pytest.mark.parametrize("number", [-10.0, 0.0, 10.0])
def test_the_scale_is_positive_and_thresholds_lie_in_the_unit_interval(number):
    scale, thresholds = activation_op(log_scale=number, logits=[number] * 4).levels()
    assert float(scale) > 0
    assert ((thresholds > 0) & (thresholds < 1)).numpy().all()


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(-3.0, 2.5, 2.5), (0.5, 1e-3, 1e-3), (-2.0, 0.0, 1.0), (-2, -1, 1)]
)
def test_the_measured_high_end_becomes_the_scale_if_it_is_positive(low, high, expected):
    op = BinaryActivation()
    op.build((None, 4))
    op.set_range(np.float32(low), np.float32(high))
    assert float(op.levels()[0]) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(op.levels()[1], 0.5)


def test_channels_of_unknown_number_are_an_error_with_a_remedy():
    with pytest.raises(ValueError, match=r"threshold per channel.*\(None, 4, None\).*fixed size"):
        BinaryActivation().build((None, 4, None))


def test_scale_and_thresholds_are_trained_and_the_switch_is_not():
    op = activation_op()
    assert [variable.name for variable in op.trainable_variables] == ["log_scale:0", "threshold_logits:0"]
    assert [variable.shape for variable in op.trainable_variables] == [(), (4,)]
    assert [variable.name for variable in op.non_trainable_variables] == ["active:0"]
    weight = weight_op((3, 4), (-1,))
    assert weight.trainable_variables == []
    assert [variable.name for variable in weight.non_trainable_variables] == ["active:0"]


def test_a_frozen_activation_trains_nothing():
    op = BinaryActivation(trainable=False)
    op.build((None, 4))
    assert op.trainable_variables == []


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_float_types_are_computed_in_float32_and_kept(dtype):
    inputs = tf.cast(random_values(), dtype)
    for op in (weight_op(inputs.shape, (-1,)), activation_op()):
        out = op(inputs)
        assert out.dtype == dtype
        expected = tf.cast(op(tf.cast(inputs, tf.float32)), dtype)
        np.testing.assert_array_equal(tf.cast(out, tf.float64), tf.cast(expected, tf.float64))
        assert {variable.dtype for variable in op.trainable_variables} <= {tf.float32}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_float_types_pass_through_bit_for_bit_while_it_is_off(dtype):
    inputs = tf.random.stateless_normal((6, 5, 4), seed=(1, 2), dtype=tf.float64)
    inputs = tf.cast(inputs, dtype)
    for op in (weight_op(inputs.shape, (-1,), active=False), activation_op(active=False)):
        assert op(inputs).dtype == dtype
        np.testing.assert_array_equal(tf.cast(op(inputs), tf.float64), tf.cast(inputs, tf.float64))


@pytest.mark.parametrize("kind", KERNELS)
def test_integers_stand_for_what_the_forward_pass_gives(kind):
    shape, channels, _ = KERNELS[kind]
    weight = random_values(shape)
    weight.flat[0] = 0.0
    op = weight_op(shape, channels)
    integers = op.to_integer(weight)
    np.testing.assert_array_equal(integers.dequantize(), op(weight))
    assert (integers.num_bits, integers.values.dtype, integers.values.shape) == (1, np.int8, shape)
    assert set(np.unique(integers.values)) == {-1, 1}


def test_there_are_no_integers_before_it_is_switched_on():
    assert weight_op((3, 4), (-1,), active=False).to_integer(random_values((3, 4))) is None


@pytest.mark.parametrize(
    "op", [BinaryWeight(), BinaryWeight((-2, -1), name="one"), BinaryActivation(name="two", trainable=False)]
)
def test_configuration_round_trip(op):
    again = deserialize(json.loads(json.dumps(serialize(op))))
    assert type(again) is type(op)
    assert again.get_config() == op.get_config()
    assert again.stage is Stage.BINARIZE


@pytest.mark.parametrize("active", [False, True])
def test_while_observed_the_input_is_shown_and_passes_unchanged(active):
    op, values, seen = activation_op(active=active), random_values(), []
    before = op(values).numpy()
    with observed({op: seen.append}, [op]):
        np.testing.assert_array_equal(op(values), values)
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0], values)
    np.testing.assert_array_equal(op(values), before)


def test_masks_pass_through():
    inputs = tf.ones((2, 3, 4))
    inputs._keras_mask = tf.constant([[True, False, True], [True, True, True]])
    np.testing.assert_array_equal(BinaryActivation()(inputs)._keras_mask, inputs._keras_mask)


def test_a_global_mixed_policy_leaves_the_variables_float32():
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        op = activation_op()
    finally:
        keras.mixed_precision.set_global_policy(before)
    assert {variable.dtype for variable in op.trainable_variables} == {tf.float32}
    assert op(tf.ones((2, 3, 4), tf.float16)).dtype == tf.float16
