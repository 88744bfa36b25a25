"""Constants behind fake quantizers become the integers that TensorFlow's own operations stand for."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress.export.quantized_constants import IntegerConstant, cut_out_constants, dequantized, grid


def symmetric(scale, bits=8):
    """Return the ends of a grid without its lowest level."""
    steps = np.float32(2 ** (bits - 1) - 1)
    scale = np.asarray(scale, np.float32)
    return -steps * scale, steps * scale


def asymmetric(scale, zero_point, bits=8):
    scale = np.asarray(scale, np.float32)
    zero_point = np.asarray(zero_point)
    return (-zero_point * scale).astype(np.float32), ((2**bits - 1 - zero_point) * scale).astype(np.float32)


def quantized(values, low, high, bits=8, narrow=False):
    """Return what TensorFlow's own operation makes of an array."""
    per_channel = np.ndim(low) > 0
    name = "fake_quant_with_min_max_vars" + ("_per_channel" if per_channel else "")
    return getattr(tf.quantization, name)(values, low, high, bits, narrow).numpy()


def graph_of(function, *specs):
    return tf.function(function, input_signature=specs).get_concrete_function().graph.as_graph_def()


def taken(values, low, high, bits=8, narrow=False):
    """Return the one constant of a graph that adds a quantized constant to its input."""

    def function(x):
        name = "fake_quant_with_min_max_vars" + ("_per_channel" if np.ndim(low) else "")
        return x + getattr(tf.quantization, name)(tf.constant(values), low, high, bits, narrow)

    graph = graph_of(function, tf.TensorSpec(values.shape))
    [constant] = cut_out_constants(graph)
    return constant


VALUES = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
SCALES = np.float32([0.01, 0.02, 0.5, 0.007, 1.0])


@pytest.mark.parametrize("bits", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("scale", [np.float32(0.013), SCALES], ids=["per tensor", "per channel"])
def test_symmetric_grids_become_int8_with_zero_at_zero(scale, bits):
    low, high = symmetric(scale, bits)
    constant = taken(VALUES, low, high, bits, narrow=True)
    assert constant.values.dtype == np.int8
    assert not constant.zero_point.any()
    np.testing.assert_allclose(constant.scale, np.atleast_1d(scale), rtol=1e-6)
    expected = quantized(VALUES, low, high, bits, narrow=True)
    np.testing.assert_allclose(dequantized(constant), expected, rtol=1e-5, atol=1e-7)
    levels = 2 ** (bits - 1) - 1
    np.testing.assert_array_equal(constant.values, np.clip(np.round(VALUES / scale), -levels, levels))


@pytest.mark.parametrize("bits", [2, 5, 8])
@pytest.mark.parametrize(
    ("scale", "zero_point"),
    [(np.float32(0.02), 1), (SCALES, [0, 1, 3, 2, 1]), (SCALES, [3, 3, 3, 3, 3])],
    ids=["per tensor", "per channel", "at the end"],
)
def test_other_grids_become_uint8_with_a_zero_point(scale, zero_point, bits):
    low, high = asymmetric(scale, zero_point, bits)
    constant = taken(VALUES, low, high, bits)
    assert constant.values.dtype == np.uint8
    np.testing.assert_array_equal(constant.zero_point, np.atleast_1d(zero_point))
    expected = quantized(VALUES, low, high, bits)
    np.testing.assert_allclose(dequantized(constant), expected, rtol=1e-5, atol=1e-6)
    assert constant.values.max() <= 2**bits - 1


def test_a_full_grid_around_its_middle_becomes_int8():
    low, high = asymmetric(np.float32(0.02), 128)
    constant = taken(VALUES, low, high)
    assert constant.values.dtype == np.int8
    assert constant.zero_point == 0
    np.testing.assert_allclose(dequantized(constant), quantized(VALUES, low, high), rtol=1e-5)


def test_what_lies_outside_the_range_is_clipped():
    low, high = symmetric(np.float32(0.1))
    constant = taken(np.float32([-1e6, 1e6, 0, 0.04, 0.06]), low, high, narrow=True)
    np.testing.assert_array_equal(constant.values, [-127, 127, 0, 0, 1])


def test_numbers_on_the_grid_come_back_to_the_integer():
    integers = np.arange(-127, 128, dtype=np.int8)
    for scale in np.random.default_rng(1).uniform(1e-4, 3, 50).astype(np.float32):
        low, high = symmetric(scale)
        constant = taken(integers.astype(np.float32) * scale, low, high, narrow=True)
        np.testing.assert_array_equal(constant.values, integers)


# The graph


def test_the_constant_becomes_an_input_of_its_name_and_the_rest_stays():
    low, high = symmetric(np.float32(0.1))
    x = np.ones(5, np.float32)

    def function(x):
        weight = tf.quantization.fake_quant_with_min_max_vars(tf.constant(VALUES), low, high, 8, True, name="weight")
        return tf.identity(x * weight, name="y")

    graph = graph_of(function, tf.TensorSpec((5,), name="x"))
    [constant] = cut_out_constants(graph)
    assert constant.name == "weight"
    assert [node.name for node in graph.node if node.op == "Placeholder"] == ["x", "weight"]
    imported = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    run = imported.prune(["x:0", "weight:0"], "y:0")
    expected = x * quantized(VALUES, low, high, narrow=True)
    np.testing.assert_allclose(run(tf.constant(x), tf.constant(dequantized(constant))), expected, rtol=1e-6)


def test_quantizers_of_computed_values_are_left():
    def function(x):
        return tf.quantization.fake_quant_with_min_max_vars(x, -1.0, 1.0)

    graph = graph_of(function, tf.TensorSpec((3,)))
    before = graph.SerializeToString(deterministic=True)
    assert cut_out_constants(graph) == []
    assert graph.SerializeToString(deterministic=True) == before


def test_constants_that_are_computed_from_constants_are_taken():
    low, high = symmetric(SCALES)

    def function(x):
        moved = tf.transpose(tf.constant(np.transpose(VALUES)))
        twice = tf.constant(low) / 2, tf.constant(high) / 2
        return x + tf.quantization.fake_quant_with_min_max_vars_per_channel(moved, *twice, 8, True)

    [constant] = cut_out_constants(graph_of(function, tf.TensorSpec(VALUES.shape)))
    expected = quantized(VALUES, low / 2, high / 2, narrow=True)
    np.testing.assert_allclose(dequantized(constant), expected, rtol=1e-5)


def test_several_constants_keep_their_own_numbers():
    low, high = symmetric(np.float32(0.1))

    def function(x):
        one = tf.quantization.fake_quant_with_min_max_vars(tf.constant(VALUES), low, high, 8, True, name="one")
        two = tf.quantization.fake_quant_with_min_max_vars(tf.constant(-VALUES), low, high, 8, True, name="two")
        return x + one + two

    found = {constant.name: constant.values for constant in cut_out_constants(graph_of(function, tf.TensorSpec(())))}
    np.testing.assert_array_equal(found["one"], -found["two"])
    assert set(found) == {"one", "two"}


# Channels


def integer_constant(shape=(2, 3, 4), axis=-1):
    generator = np.random.default_rng(0)
    values = generator.integers(-127, 128, shape).astype(np.int8)
    size = shape[axis]
    indices = np.arange(size).reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
    scale = generator.uniform(0.1, 1, size).astype(np.float32)
    return IntegerConstant("w", values, np.broadcast_to(indices, shape), scale, np.zeros(size, np.int32))


@pytest.mark.parametrize("shape", [(2, 3, 4), (4, 4, 4), (1, 3)])
def test_the_axis_of_the_channels_is_found(shape):
    for axis in range(len(shape)):
        if shape[axis] > 1:
            assert integer_constant(shape, axis).axis() == axis


def test_one_channel_has_no_axis():
    assert integer_constant((3, 1)).axis() is None


def test_moves_take_the_channels_along():
    constant = integer_constant((4, 4, 4))
    moved = constant.moved(lambda array: np.transpose(array, (2, 0, 1)))
    assert moved.axis() == 0
    np.testing.assert_array_equal(dequantized(moved), np.transpose(dequantized(constant), (2, 0, 1)))
    assert constant.axis() == 2


def test_a_move_may_tear_channels_apart():
    constant = integer_constant((2, 3, 4))
    assert constant.has_axis()
    for torn in (lambda array: array.reshape(-1), lambda array: array[..., ::-1]):
        assert not constant.moved(torn).has_axis()
        np.testing.assert_array_equal(dequantized(constant.moved(torn)), torn(dequantized(constant)))
    assert constant.moved(lambda array: array.reshape(6, 4)).axis() == 1
    assert integer_constant((3, 1)).has_axis()


def test_channels_along_no_axis_are_an_error():
    constant = integer_constant((2, 2))
    torn = IntegerConstant("torn", constant.values, np.array([[0, 1], [1, 0]]), constant.scale, constant.zero_point)
    with pytest.raises(ValueError, match="'torn' are on several axes"):
        torn.axis()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_channel_is_multiplied_by_its_scale(axis):
    constant = integer_constant((2, 3, 4), axis)
    for channel, scale in enumerate(constant.scale):
        integers = np.take(constant.values, channel, axis)
        np.testing.assert_allclose(np.take(dequantized(constant), channel, axis), scale * integers, rtol=1e-6)


# Grids


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_grid_has_as_many_steps_as_its_levels_less_one(bits, narrow):
    low, high = np.float32(-3), np.float32(9)
    scale, zero_point, steps = grid(low, high, bits, narrow_range=narrow)
    assert steps == 2**bits - 1 - narrow
    assert scale.dtype == np.float32
    assert zero_point.dtype == np.int32
    assert scale == pytest.approx(12 / steps)
    assert zero_point == round(3 * steps / 12)
