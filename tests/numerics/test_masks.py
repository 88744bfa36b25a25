"""Masks and stochastic gates: values and gradients against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress.numerics import apply_mask, hard_gates, sample_gates, scale_gradient
from tests.numerics.gradients import value_and_gradients

LOGITS = np.array([-12.0, -3.0, -0.7, 0.0, 0.4, 2.0, 11.0], np.float32)


def sigmoid(values):
    return 1.0 / (1.0 + np.exp(-np.asarray(values, np.float64)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_keep_sets_the_rest_to_zero_and_hands_every_gradient_on(dtype):
    generator = np.random.default_rng(0)
    x, upstream = generator.normal(size=(2, 5, 4)).astype(dtype)
    mask = generator.random((5, 4)) < 0.4
    out, gradient = value_and_gradients(lambda values: apply_mask(values, tf.constant(mask)), x, upstream=upstream)
    np.testing.assert_array_equal(out, np.where(mask, x, 0))
    np.testing.assert_array_equal(gradient, upstream)


def test_a_mask_hides_numbers_that_are_not_finite():
    out = apply_mask(tf.constant([np.inf, np.nan, 3.0]), tf.constant([False, False, True]))
    np.testing.assert_array_equal(out, [0.0, 0.0, 3.0])


def test_gates_are_open_with_the_probability_of_their_logit():
    draws = 40_000
    uniform = np.random.default_rng(1).random((draws, len(LOGITS))).astype(np.float32)
    gates = sample_gates(tf.constant(np.tile(LOGITS, (draws, 1))), tf.constant(uniform)).numpy()
    assert set(np.unique(gates)) == {0.0, 1.0}
    probability = sigmoid(LOGITS)
    deviation = np.sqrt(probability * (1 - probability) / draws)
    assert (np.abs(gates.mean(axis=0) - probability) <= 5 * deviation + 1e-4).all()


def test_a_gate_is_open_where_the_draw_beats_the_closed_share():
    logits, uniform = (values.reshape(-1) for values in np.meshgrid(LOGITS, np.linspace(0.013, 0.987, 24)))
    logits, uniform = logits.astype(np.float32), uniform.astype(np.float32)
    q = sigmoid(logits + np.log(uniform.astype(np.float64) / (1.0 - uniform.astype(np.float64))))
    upstream = np.random.default_rng(2).normal(size=logits.shape).astype(np.float32)
    gates, gradient = value_and_gradients(
        lambda values: sample_gates(values, tf.constant(uniform)), logits, upstream=upstream
    )
    np.testing.assert_array_equal(gates, (q > 0.5).astype(np.float32))
    np.testing.assert_array_equal(gates, (uniform > 1.0 - sigmoid(logits)).astype(np.float32))
    np.testing.assert_allclose(gradient, upstream * q * (1.0 - q), rtol=1e-4, atol=1e-7)


def test_the_ends_of_the_uniform_numbers_give_finite_gates_and_gradients():
    uniform = np.array([0.0, np.nextafter(np.float32(1.0), np.float32(0.0))], np.float32)
    gates, gradient = value_and_gradients(
        lambda values: sample_gates(values, tf.constant(uniform)),
        np.float32([5.0, -5.0]),
        upstream=np.ones(2, "float32"),
    )
    np.testing.assert_array_equal(gates, [0.0, 1.0])
    assert np.isfinite(gradient).all()


def test_open_gates_are_the_positive_logits_with_the_gradient_of_the_sigmoid():
    upstream = np.random.default_rng(3).normal(size=LOGITS.shape).astype(np.float32)
    gates, gradient = value_and_gradients(hard_gates, LOGITS, upstream=upstream)
    np.testing.assert_array_equal(gates, LOGITS > 0)
    q = sigmoid(LOGITS)
    np.testing.assert_allclose(gradient, upstream * q * (1.0 - q), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("pace", "gradient_scale"), [(1.0, 1.0), (10.0, 0.1), (10.0, 57.3), (0.5, 8.0)])
def test_the_value_and_the_gradient_are_scaled_apart(pace, gradient_scale):
    x, upstream = np.random.default_rng(4).normal(size=(2, 3, 4)).astype(np.float32)
    out, gradient = value_and_gradients(
        lambda values: scale_gradient(values, pace, gradient_scale), x, upstream=upstream
    )
    np.testing.assert_allclose(out, pace * x, rtol=1e-6)
    np.testing.assert_allclose(gradient, gradient_scale * upstream, rtol=1e-6)


def test_paced_takes_a_variable():
    variable = tf.Variable([1.0, -2.0])
    with tf.GradientTape() as tape:
        out = tf.reduce_sum(scale_gradient(variable, 10.0, 3.0))
    assert float(out) == -10.0
    np.testing.assert_array_equal(tape.gradient(out, variable), [3.0, 3.0])


def test_masks_and_gates_compiled_by_xla_are_the_same():
    def all_of_them(x):
        return apply_mask(x, x > 1.0), sample_gates(x, tf.sigmoid(x)), hard_gates(x), scale_gradient(x, 2.0, 3.0)

    x = tf.constant(LOGITS[2:5])
    for compiled, plain in zip(tf.function(all_of_them, jit_compile=True)(x), all_of_them(x), strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-6)
