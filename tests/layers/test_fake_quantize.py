"""The quantizer layers: their ranges, their variables, what integers they stand for, and observing their inputs."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import deserialize, keras, serialize
from keras_compress.layers import AsymmetricFakeQuantize, SymmetricFakeQuantize, observed
from keras_compress.numerics import fake_quantize, symmetric_bounds

QUANTIZERS = [SymmetricFakeQuantize, AsymmetricFakeQuantize]


def built(quantizer, shape=(6, 4)):
    quantizer.build(tf.TensorShape(shape))
    return quantizer


def measured(quantizer, values):
    """Return the quantizer built for ``values``, with its range set from their extremes."""
    built(quantizer, values.shape)
    shape = quantizer.range_shape(values.shape)
    axes = tuple(axis for axis in range(values.ndim) if not shape or shape[axis] == 1)
    low, high = (end(values, axis=axes, keepdims=True).reshape(shape) for end in (np.min, np.max))
    quantizer.set_range(low, high)
    return quantizer


def random_values(shape=(6, 4), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("num_bits", [-1, 0, 1, 9, 16])
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_bits_outside_of_2_to_8_are_an_error(quantizer, num_bits):
    with pytest.raises(ValueError, match=f"2 to 8 bits.*num_bits={num_bits}"):
        quantizer(num_bits)


def test_half_of_a_range_of_two_bits_is_an_error():
    with pytest.raises(ValueError, match="half_range"):
        built(SymmetricFakeQuantize(2, narrow_range=True, half_range=True))(random_values())


@pytest.mark.parametrize(("low", "high", "scale"), [(-1.5, 0.5, 1.5), (-0.5, 1.5, 1.5), (0.0, 2.0, 2.0)])
def test_symmetric_scale_is_the_larger_magnitude(low, high, scale):
    quantizer = built(SymmetricFakeQuantize())
    quantizer.set_range(np.float32(low), np.float32(high))
    assert float(quantizer.scale) == scale


@pytest.mark.parametrize(("low", "signed"), [(-0.001, 1.0), (0.0, 0.0), (0.5, 0.0)])
def test_the_data_decide_about_the_sign(low, signed):
    quantizer = built(SymmetricFakeQuantize())
    quantizer.set_range(np.float32(low), np.float32(1.0))
    assert float(quantizer.signed) == signed


@pytest.mark.parametrize("low", [-1.0, 0.0])
@pytest.mark.parametrize("forced", [True, False])
def test_a_forced_sign_holds_whatever_the_data_are(forced, low):
    quantizer = built(SymmetricFakeQuantize(signed=forced))
    quantizer.set_range(np.float32(low), np.float32(1.0))
    assert float(quantizer.signed) == float(forced)


def test_weights_are_signed_even_if_all_are_positive():
    quantizer = measured(SymmetricFakeQuantize(narrow_range=True), np.abs(random_values()))
    low, high = quantizer.range()
    assert float(low) == -float(high)


@pytest.mark.parametrize("num_bits", range(2, 9))
@pytest.mark.parametrize(("signed", "narrow"), [(True, True), (True, False), (False, False)])
def test_symmetric_range_is_that_of_the_table(num_bits, signed, narrow):
    quantizer = built(SymmetricFakeQuantize(num_bits, narrow_range=narrow, signed=signed))
    quantizer.set_range(np.float32(0.0), np.float32(1.7))
    smallest, largest = symmetric_bounds(num_bits, signed=signed, narrow_range=narrow)
    low, high = quantizer.range()
    np.testing.assert_allclose([low, high], [1.7 * smallest / largest, 1.7], rtol=1e-6)


def test_a_negative_scale_counts_by_its_magnitude():
    quantizer = built(SymmetricFakeQuantize(signed=True))
    quantizer.scale.assign(-2.0)
    assert [float(end) < 0 for end in quantizer.range()] == [True, False]
    assert float(quantizer.range()[1]) == 2.0


@pytest.mark.parametrize(("low", "high", "expected"), [(-1.0, 3.0, (-1, 3)), (0.5, 3.0, (0, 3)), (-3.0, -1.0, (-3, 0))])
def test_asymmetric_range_is_measured_and_holds_zero(low, high, expected):
    quantizer = built(AsymmetricFakeQuantize())
    quantizer.set_range(np.float32(low), np.float32(high))
    assert (float(quantizer.range_min), float(quantizer.range_max)) == expected


def test_asymmetric_ends_that_changed_places_still_make_a_range():
    quantizer = built(AsymmetricFakeQuantize())
    quantizer.range_min.assign(1.0)
    quantizer.range_max.assign(-1.0)
    low, high = quantizer.range()
    assert float(low) < 0 < float(high)


@pytest.mark.parametrize(
    ("axes", "shape"), [(None, ()), ((-1,), (1, 1, 1, 5)), ((0,), (3, 1, 1, 1)), ((-2, -1), (1, 1, 2, 5))]
)
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_variables_have_one_number_per_channel(quantizer, axes, shape):
    quantizer = built(quantizer(channel_axes=axes), (3, 3, 2, 5))
    assert {variable.shape for variable in quantizer.trainable_variables} == {tf.TensorShape(shape)}
    assert quantizer(random_values((3, 3, 2, 5))).shape == (3, 3, 2, 5)


def test_channels_of_unknown_size_are_an_error_with_a_remedy():
    with pytest.raises(ValueError, match=r"known size along its channel axes \[1\].*shape=\(None, None\)"):
        built(SymmetricFakeQuantize(channel_axes=(-1,)), (None, None))


def test_ranges_are_trained_and_the_sign_is_not():
    symmetric, asymmetric = built(SymmetricFakeQuantize()), built(AsymmetricFakeQuantize())
    assert [v.name for v in symmetric.trainable_variables] == ["scale:0"]
    assert [v.name for v in symmetric.non_trainable_variables] == ["signed:0"]
    assert [v.name for v in asymmetric.trainable_variables] == ["range_min:0", "range_max:0"]
    assert asymmetric.non_trainable_variables == []


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_frozen_quantizer_trains_nothing(quantizer):
    assert built(quantizer(trainable=False)).trainable_variables == []


@pytest.mark.parametrize("signed", [True, False])
def test_gradient_to_the_scale_follows_the_chain_rule(signed):
    x = random_values((50,))
    quantizer = built(SymmetricFakeQuantize(4, signed=signed), (50,))
    quantizer.set_range(np.float32(0.0), np.float32(0.8))
    upstream = random_values((50,), seed=1)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(quantizer(x) * upstream)
    d_scale = tape.gradient(total, quantizer.scale)
    ends = [tf.constant(float(end)) for end in quantizer.range()]
    with tf.GradientTape() as tape:
        tape.watch(ends)
        total = tf.reduce_sum(fake_quantize(x, *ends, num_bits=4) * upstream)
    d_low, d_high = tape.gradient(total, ends)
    smallest, largest = symmetric_bounds(4, signed=signed, narrow_range=False)
    np.testing.assert_allclose(d_scale, d_low * smallest / largest + d_high, rtol=1e-5)


def test_gradient_reaches_both_ends_of_an_asymmetric_range():
    quantizer = built(AsymmetricFakeQuantize(8), (3,))
    quantizer.set_range(np.float32(-1.0), np.float32(1.0))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(quantizer(tf.constant([-5.0, -6.0, 7.0])))
    assert [float(g) for g in tape.gradient(total, [quantizer.range_min, quantizer.range_max])] == [2.0, 1.0]


INTEGER_KINDS = {
    "weight": lambda bits, axes: SymmetricFakeQuantize(bits, narrow_range=True, channel_axes=axes),
    "half": lambda bits, axes: SymmetricFakeQuantize(
        max(bits, 3), narrow_range=True, channel_axes=axes, half_range=True
    ),
    "signed": lambda bits, axes: SymmetricFakeQuantize(bits, signed=True, channel_axes=axes),
    "unsigned": lambda bits, axes: SymmetricFakeQuantize(bits, signed=False, channel_axes=axes),
    "asymmetric": lambda bits, axes: AsymmetricFakeQuantize(bits, channel_axes=axes),
}


@pytest.mark.parametrize("axes", [None, (-1,), (0, 2)])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("kind", INTEGER_KINDS)
def test_integers_stand_for_what_the_forward_pass_gives(kind, bits, axes):
    weight = random_values((3, 7, 4))
    quantizer = measured(INTEGER_KINDS[kind](bits, axes), weight)
    integers = quantizer.to_integer(weight)
    np.testing.assert_allclose(integers.dequantize(), quantizer(weight), rtol=1e-5, atol=1e-6)
    assert integers.values.shape == weight.shape
    assert integers.num_bits == quantizer.num_bits
    assert integers.values.dtype == (np.int8 if quantizer.narrow_range else np.uint8)
    assert len(np.unique(integers.values)) > 2


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_integers_use_the_whole_grid_and_no_more(bits):
    weight = np.linspace(-2, 2, 1001, dtype=np.float32)[:, np.newaxis]
    narrow = measured(SymmetricFakeQuantize(bits, narrow_range=True), weight).to_integer(weight)
    assert (narrow.values.min(), narrow.values.max()) == symmetric_bounds(bits, signed=True, narrow_range=True)
    np.testing.assert_array_equal(narrow.zero_point, 0)
    positive = np.abs(weight)
    for quantizer in (AsymmetricFakeQuantize(bits), SymmetricFakeQuantize(bits)):
        wide = measured(quantizer, positive).to_integer(positive)
        assert (wide.values.min(), wide.values.max()) == (0, 2**bits - 1)


def test_half_range_uses_half_of_the_levels_over_the_same_range():
    weight = np.linspace(-1, 1, 1001, dtype=np.float32)[:, np.newaxis]
    quantizer = measured(SymmetricFakeQuantize(8, narrow_range=True, half_range=True), weight)
    integers = quantizer.to_integer(weight)
    assert (integers.values.min(), integers.values.max()) == (-63, 63)
    assert float(tf.reduce_max(quantizer(weight))) == pytest.approx(1.0)


EXTREMES = {
    "mixed": ([-1.0, -0.3, 0.2, 0.0], [0.5, 2.0, 3.0, 0.0]),
    "positive": ([0.0, 0.1, 0.0, 0.0], [0.5, 2.0, 3.0, 0.0]),
    "negative": ([-1.0, -0.3, -7.0, -0.1], [-0.5, 0.0, 0.0, 0.0]),
    "zero": ([0.0] * 4, [0.0] * 4),
}


@pytest.mark.parametrize("axes", [None, (-1,)])
@pytest.mark.parametrize("extremes", EXTREMES)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("kind", INTEGER_KINDS)
def test_what_a_range_would_cover_is_what_it_covers_once_it_is_set(kind, bits, extremes, axes):
    quantizer = built(INTEGER_KINDS[kind](bits, axes))
    before = [variable.numpy() for variable in quantizer.variables]
    low, high = (np.array(end, np.float32) for end in EXTREMES[extremes])
    if axes is None:
        low, high = low.min(), high.max()
    covered = quantizer.range_for(low, high)
    for variable, value in zip(quantizer.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    quantizer.set_range(*(np.reshape(end, quantizer.range_variable_shape) for end in (low, high)))
    for ours, theirs in zip(covered, quantizer.range(), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, np.reshape(theirs, np.shape(low)))


@pytest.mark.parametrize("quantizer", [SymmetricFakeQuantize(4), AsymmetricFakeQuantize(4)])
def test_several_ranges_in_a_row_are_covered_at_once_and_without_variables(quantizer):
    low, high = -np.abs(random_values((5, 3))), np.abs(random_values((5, 3), seed=1))
    together = quantizer.range_for(low, high)
    alone = [quantizer.range_for(one, other) for one, other in zip(low, high, strict=True)]
    np.testing.assert_array_equal(together, np.swapaxes(alone, 0, 1))
    assert not quantizer.variables


@pytest.mark.parametrize(
    "quantizer",
    [SymmetricFakeQuantize(narrow_range=True, channel_axes=(-1,)), AsymmetricFakeQuantize(channel_axes=(-1,))],
)
def test_a_channel_of_zeros_stays_zero_and_can_be_trained(quantizer):
    weight = random_values((6, 3))
    weight[:, 1] = 0.0
    quantizer = measured(quantizer, weight)
    np.testing.assert_array_equal(quantizer(weight)[:, 1], 0.0)
    np.testing.assert_array_equal(quantizer.to_integer(weight).dequantize()[:, 1], 0.0)
    low, high = quantizer.range()
    assert float((high - low)[0, 1]) > 0
    np.testing.assert_allclose(quantizer(weight), weight, atol=0.03)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_tensor_of_zeros_stays_zero(quantizer):
    quantizer = measured(quantizer(), np.zeros((6, 4), np.float32))
    np.testing.assert_array_equal(quantizer(np.zeros((6, 4), np.float32)), 0.0)
    assert float(quantizer.range()[1]) > 0


@pytest.mark.parametrize("magnitude", [1e-9, 1e9])
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_ranges_have_no_floor_and_no_ceiling(quantizer, magnitude):
    values = random_values() * np.float32(magnitude)
    np.testing.assert_allclose(measured(quantizer(), values)(values), values, atol=0.02 * magnitude)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("axes", [None, (-1,)])
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_other_float_types_are_computed_in_float32_and_kept(quantizer, axes, dtype):
    values = random_values()
    quantizer = measured(quantizer(channel_axes=axes), values)
    inputs = tf.cast(values, dtype)
    out = quantizer(inputs)
    assert out.dtype == dtype
    expected = tf.cast(quantizer(tf.cast(inputs, tf.float32)), dtype)
    np.testing.assert_array_equal(tf.cast(out, tf.float64), tf.cast(expected, tf.float64))
    assert {variable.dtype for variable in quantizer.variables} == {tf.float32}


def test_a_global_mixed_policy_leaves_the_variables_float32():
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        quantizer = built(SymmetricFakeQuantize())
    finally:
        keras.mixed_precision.set_global_policy(before)
    assert quantizer.scale.dtype == tf.float32
    assert quantizer(tf.ones((6, 4), tf.float16)).dtype == tf.float16


@pytest.mark.parametrize(
    "quantizer",
    [
        SymmetricFakeQuantize(4, narrow_range=True, channel_axes=(-1,), half_range=True, name="weights"),
        SymmetricFakeQuantize(signed=False, trainable=False),
        AsymmetricFakeQuantize(3, channel_axes=(0, 1)),
    ],
)
def test_configuration_round_trip(quantizer):
    again = deserialize(json.loads(json.dumps(serialize(quantizer))))
    assert type(again) is type(quantizer)
    assert again.get_config() == quantizer.get_config()


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_while_observed_the_input_is_shown_and_passes_unchanged(quantizer):
    watched, ignored = measured(quantizer(2), random_values()), measured(quantizer(2), random_values())
    values, seen = random_values(seed=5), []
    with observed({watched: seen.append}, [watched, ignored]):
        np.testing.assert_array_equal(ignored(watched(values)), values)
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0], values)
    assert np.abs(watched(values) - values).max() > 0.1
    assert len(seen) == 1


def test_observing_ends_with_an_exception():
    quantizer = measured(SymmetricFakeQuantize(2), random_values())
    before = quantizer(random_values()).numpy()
    with pytest.raises(KeyError, match="stop"), observed({}, [quantizer]):
        raise KeyError("stop")
    np.testing.assert_array_equal(quantizer(random_values()), before)


def test_masks_pass_through():
    inputs = tf.ones((2, 3, 1))
    inputs._keras_mask = tf.constant([[True, False, True], [True, True, True]])
    np.testing.assert_array_equal(SymmetricFakeQuantize()(inputs)._keras_mask, inputs._keras_mask)
