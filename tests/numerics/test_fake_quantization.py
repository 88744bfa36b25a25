"""Fake quantization, range tuning, masks and gates against formulas written out in NumPy, forward and backward."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress.numerics import (
    fake_quantize,
    fake_quantize_symmetric,
    symmetric_bounds,
    tune_range,
)
from tests.numerics.gradients import value_and_gradients

BITS = range(2, 9)
KINDS = ["narrow", "signed", "unsigned", "asymmetric"]
# Shape of the tensor and the axes that have a range per index; None is one range for the tensor.
LAYOUTS = {
    "tensor": ((4, 3, 5), None),
    "last axis": ((4, 3, 5), (2,)),
    "first axis": ((4, 3, 5), (0,)),
    "two last axes": ((7, 3, 2), (1, 2)),
    "one channel": ((9, 1), (1,)),
}


def random_range(kind, bits, shape, generator):
    """Return float32 ends of a range that holds zero."""
    high = generator.uniform(0.2, 3.0, shape)
    if kind == "asymmetric":
        low = -generator.uniform(0.1, 2.0, shape)
    else:
        smallest, largest = symmetric_bounds(bits, signed=kind != "unsigned", narrow_range=kind == "narrow")
        low = high * smallest / largest
    return np.asarray(low, np.float32), np.asarray(high, np.float32)


def grid(low, high, bits, narrow):
    """Return the step, the offset of zero and the number of steps, in float64."""
    low, high = np.float64(low), np.float64(high)
    steps = 2**bits - 1 - narrow
    scale = (high - low) / steps
    return scale, np.rint(-low / scale), steps


def values_off_ties(low, high, bits, narrow, shape, generator):
    """Return values inside and outside of the range, none of them near the border between two levels or at an end."""
    scale, offset, steps = grid(low, high, bits, narrow)
    level = generator.integers(-3, steps + 4, shape)
    shift = generator.uniform(0.05, 0.45, shape) * generator.choice([-1, 1], shape)
    return np.asarray(scale * (level - offset + shift), np.float32)


def reference(x, low, high, bits, narrow, upstream, keep_inside):
    """Return the output and the gradients to x, low and high, the last two before summing over shared axes."""
    scale, offset, steps = grid(low, high, bits, narrow)
    x = np.float64(x)
    out = scale * (np.clip(np.rint(x / scale) + offset, 0, steps) - offset)
    below, above = x < -scale * offset, x > scale * (steps - offset)
    inside = ~below & ~above
    share = np.where(inside & keep_inside, (x - out) / (np.float64(high) - np.float64(low)), 0.0)
    return out, upstream * inside, upstream * (below + share), upstream * (above - share)


def summed_to(array, shape):
    axes = tuple(axis for axis in range(array.ndim) if not shape or shape[axis] == 1)
    return array.sum(axis=axes, keepdims=bool(shape))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", BITS)
def test_forward_and_gradients_follow_the_formula(bits, kind, layout):
    shape, channel_axes = LAYOUTS[layout]
    range_shape = () if channel_axes is None else tuple(n if i in channel_axes else 1 for i, n in enumerate(shape))
    generator = np.random.default_rng(bits)
    narrow = kind == "narrow"
    low, high = random_range(kind, bits, range_shape, generator)
    x = values_off_ties(low, high, bits, narrow, shape, generator)
    upstream = generator.normal(size=shape).astype(np.float32)

    out, d_x, d_low, d_high = value_and_gradients(
        lambda *a: fake_quantize(*a, num_bits=bits, narrow_range=narrow), x, low, high, upstream=upstream
    )

    keep_inside = bits < 8 or channel_axes is not None
    expected, e_x, e_low, e_high = reference(x, low, high, bits, narrow, upstream, keep_inside)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(d_x, e_x, rtol=1e-6)
    np.testing.assert_allclose(d_low, summed_to(e_low, range_shape), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(d_high, summed_to(e_high, range_shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", [name for name, (_, axes) in LAYOUTS.items() if axes is not None])
@pytest.mark.parametrize("bits", BITS)
def test_the_symmetric_form_gives_the_numbers_of_the_general_one(bits, layout):
    shape, channel_axes = LAYOUTS[layout]
    range_shape = tuple(n if i in channel_axes else 1 for i, n in enumerate(shape))
    generator = np.random.default_rng(bits)
    low, high = random_range("narrow", bits, range_shape, generator)
    high.flat[0] = 0.0  # a channel that vanishes
    x = values_off_ties(low, high, bits, True, shape, generator)
    upstream = generator.normal(size=shape).astype(np.float32)
    out, d_x, d_high = value_and_gradients(
        lambda *a: fake_quantize_symmetric(*a, num_bits=bits), x, high, upstream=upstream
    )
    general = value_and_gradients(
        lambda x, high: fake_quantize(x, -high, high, num_bits=bits, narrow_range=True), x, high, upstream=upstream
    )
    np.testing.assert_array_equal(out, general[0])
    alive = np.broadcast_to(high > 0, shape)
    np.testing.assert_array_equal(d_x[alive], general[1][alive])
    np.testing.assert_allclose(d_high[high > 0], general[2][high > 0], rtol=1e-4, atol=1e-4)
    assert np.isfinite(d_high).all()


@pytest.mark.parametrize(("bits", "has_terms"), [(4, True), (7, True), (8, False)])
def test_terms_inside_the_range_are_left_out_for_eight_bits_per_tensor(bits, has_terms):
    x = np.array([0.1234, 0.3456, 0.7], np.float32)
    _, _, d_low, d_high = value_and_gradients(
        lambda *a: fake_quantize(*a, num_bits=bits), x, np.float32(-1), np.float32(1), upstream=np.ones(3, np.float32)
    )
    assert (d_low != 0) is np.bool_(has_terms)
    assert d_low == -d_high


def test_terms_inside_the_range_are_kept_for_eight_bits_per_channel():
    x, low, high = np.array([[0.1234]], np.float32), np.array([[-1.0]], np.float32), np.array([[1.0]], np.float32)
    _, _, d_low, d_high = value_and_gradients(
        lambda *a: fake_quantize(*a, num_bits=8), x, low, high, upstream=np.ones((1, 1), np.float32)
    )
    assert d_low != 0
    assert d_low == -d_high


@pytest.mark.parametrize("per_channel", [False, True])
def test_values_at_the_ends_of_the_range_count_as_inside(per_channel):
    # A step of 1/128 makes both ends exact in float32.
    low, high = np.float32(-1.0), np.float32(127 / 128)
    if per_channel:
        low, high = low.reshape(1, 1), high.reshape(1, 1)
    x = np.array([[-1.0], [127 / 128], [-1.0 - 1 / 128], [1.0]], np.float32)
    out, d_x, d_low, d_high = value_and_gradients(fake_quantize, x, low, high, upstream=np.ones((4, 1), np.float32))
    np.testing.assert_array_equal(out.ravel(), [-1.0, 127 / 128, -1.0, 127 / 128])
    np.testing.assert_array_equal(d_x.ravel(), [1, 1, 0, 0])
    assert (d_low.item(), d_high.item()) == (1.0, 1.0)


def test_halves_round_to_even_per_channel():
    x = np.array([[-1.5], [-0.5], [0.5], [1.5], [2.5]], np.float32)
    out = fake_quantize(x, [[-4.0]], [[3.0]], num_bits=3)
    np.testing.assert_array_equal(out.numpy().ravel(), [-2, 0, 0, 2, 2])


@pytest.mark.parametrize("bits", BITS)
def test_ranges_per_channel_agree_with_one_range_each(bits):
    generator = np.random.default_rng(1)
    low, high = random_range("asymmetric", bits, (3,), generator)
    x = values_off_ties(low, high, bits, False, (20, 3), generator)
    together = fake_quantize(x, low[np.newaxis], high[np.newaxis], bits).numpy()
    alone = [fake_quantize(x[:, i], low[i], high[i], bits).numpy() for i in range(3)]
    np.testing.assert_allclose(together, np.stack(alone, axis=1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(), (1, 2)])
@pytest.mark.parametrize("bits", [2, 8])
def test_a_range_of_zero_width_gives_zeros_and_finite_gradients(bits, shape):
    x = np.array([[-1.0, 0.0], [0.0, 2.0]], np.float32)
    zeros = np.zeros(shape, np.float32)
    results = value_and_gradients(
        lambda *a: fake_quantize(*a, num_bits=bits), x, zeros, zeros, upstream=np.ones_like(x)
    )
    np.testing.assert_array_equal(results[0], 0)
    assert all(np.isfinite(result).all() for result in results)


def test_a_channel_of_zero_width_leaves_the_others_alone():
    x = np.array([[0.4, 0.4]], np.float32)
    out = fake_quantize(x, [[0.0, 0.0]], [[0.0, 3.0]], num_bits=2)
    np.testing.assert_array_equal(out, [[0.0, 0.0]])
    out = fake_quantize(x, [[0.0, 0.0]], [[0.0, 1.2]], num_bits=2)
    np.testing.assert_allclose(out, [[0.0, 0.4]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (1, 4)])
def test_zero_is_a_level_of_any_range(shape):
    low, high = np.full(shape, -0.37, np.float32), np.full(shape, 1.01, np.float32)
    np.testing.assert_array_equal(fake_quantize(np.zeros((2, 4), np.float32), low, high, num_bits=3), 0)


def test_a_range_of_lower_rank_gets_a_gradient_of_its_own_shape():
    x, low, high = np.ones((6, 3), np.float32), np.full(3, -0.5, np.float32), np.full(3, 0.5, np.float32)
    _, _, d_low, d_high = value_and_gradients(fake_quantize, x, low, high, upstream=np.ones((6, 3), np.float32))
    np.testing.assert_array_equal(d_high, [6, 6, 6])
    np.testing.assert_array_equal(d_low, [0, 0, 0])


@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_compiled_by_xla_it_is_the_same(bits, channels):
    generator = np.random.default_rng(0)
    low, high = random_range("asymmetric", bits, (1, 5) if channels else (), generator)
    x = values_off_ties(low, high, bits, False, (8, 5), generator)
    upstream = generator.normal(size=x.shape).astype(np.float32)

    def quantize(x, low, high):
        return fake_quantize(x, low, high, bits)

    plain = value_and_gradients(quantize, x, low, high, upstream=upstream)
    compiled = value_and_gradients(tf.function(quantize, jit_compile=True), x, low, high, upstream=upstream)
    for one, other in zip(plain, compiled, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("signed", "narrow", "smallest", "largest"),
    [
        (True, True, lambda b: -(2 ** (b - 1)) + 1, lambda b: 2 ** (b - 1) - 1),
        (True, False, lambda b: -(2 ** (b - 1)), lambda b: 2 ** (b - 1) - 1),
        (False, False, lambda b: 0, lambda b: 2**b - 1),
    ],
)
@pytest.mark.parametrize("bits", BITS)
def test_symmetric_bounds_are_those_of_the_table(bits, signed, narrow, smallest, largest):
    assert symmetric_bounds(bits, signed=signed, narrow_range=narrow) == (smallest(bits), largest(bits))


def tuned(low, high, bits):
    """The rule of METHODS.md for one range, in float64."""
    steps = 2**bits - 1
    l1, h1 = min(low, 0.0), max(high, 0.0)
    if l1 == h1:
        return l1, h1
    z = np.rint(-l1 * steps / (h1 - l1))
    if z in (0, steps):
        return l1, h1
    t = (z - steps) / z
    h2, l2 = t * l1, h1 / t
    return (l1, h2) if h2 - l1 > h1 - l2 else (l2, h1)


RANGES = {
    "around zero": (-0.7, 1.3),
    "mostly negative": (-2.9, 0.4),
    "zero point 0": (-1e-4, 1.0),
    "last zero point": (-1.0, 1e-4),
    "above zero": (0.3, 1.2),
    "below zero": (-1.2, -0.3),
    "from zero": (0.0, 2.0),
    "up to zero": (-2.0, 0.0),
    "zero width": (0.0, 0.0),
}


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", RANGES)
def test_tune_range_follows_the_formula(name, bits):
    low, high = RANGES[name]
    np.testing.assert_allclose(tune_range(low, high, bits), tuned(low, high, bits), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("bits", BITS)
def test_a_tuned_range_holds_the_old_one_and_has_zero_on_a_level(bits):
    generator = np.random.default_rng(bits)
    low, high = -generator.uniform(0.3, 1, (1, 50)).astype(np.float32), generator.uniform(0.3, 1, (1, 50))
    new_low, new_high = (end.numpy() for end in tune_range(low, high, bits))
    offset = -new_low.astype(np.float64) * (2**bits - 1) / (new_high - new_low)
    np.testing.assert_allclose(offset, np.rint(offset), atol=1e-3)
    assert (new_low <= low + 1e-6).all()
    assert (new_high >= high - 1e-6).all()
    assert np.isclose(new_low, low).sum() + np.isclose(new_high, high).sum() >= 50


@pytest.mark.parametrize("name", RANGES)
def test_tune_range_hands_gradients_to_both_ends_unchanged(name):
    low, high = (tf.constant(end) for end in RANGES[name])
    with tf.GradientTape() as tape:
        tape.watch([low, high])
        new_low, new_high = tune_range(low, high, 8)
        total = 2.0 * new_low + 5.0 * new_high
    assert [float(gradient) for gradient in tape.gradient(total, [low, high])] == [2.0, 5.0]


def test_tune_range_compiled_by_xla_is_the_same():
    low, high = tf.constant([-1.0, -1e-4, 0.0, 0.3]), tf.constant([2.0, 1.0, 0.0, 1.2])
    compiled = tf.function(lambda a, b: tune_range(a, b, 4), jit_compile=True)(low, high)
    np.testing.assert_allclose(compiled, tune_range(low, high, 4), rtol=1e-6)
