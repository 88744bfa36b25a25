"""Binary weights and activations against formulas written out in NumPy, forward and backward."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress.numerics import binarize, binary_scale, binary_threshold
from tests.binary import activation_gradients, binary_activation, binary_weight

# Shape of a weight and the axes that are not output channels.
KERNELS = {
    "Conv1D": ((3, 4, 5), (0, 1)),
    "Conv2D": ((3, 2, 4, 5), (0, 1, 2)),
    "DepthwiseConv2D": ((3, 2, 4, 2), (0, 1)),
    "Dense": ((4, 5), (0,)),
}
every_kernel = pytest.mark.parametrize("kind", KERNELS)


def random_values(shape, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


def value_and_gradients(function, *arguments, upstream):
    tensors = [tf.constant(argument, tf.float32) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        out = function(*tensors)
    return [tensor.numpy() for tensor in (out, *tape.gradient(out, tensors, tf.constant(upstream)))]


def check_threshold(x, scale, thresholds, seed=1):
    """Compare the output and all three gradients with the formulas."""
    upstream = random_values(x.shape, seed)
    out, *gradients = value_and_gradients(binary_threshold, x, scale, thresholds, upstream=upstream)
    np.testing.assert_allclose(out, binary_activation(x, scale, thresholds), rtol=1e-6)
    expected = activation_gradients(x, scale, thresholds, upstream)
    for received, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=1e-4, atol=1e-4)


@every_kernel
@pytest.mark.parametrize("mode", ["xnor", "dorefa"])
def test_a_binary_weight_is_the_mean_magnitude_times_the_sign(kind, mode):
    shape, others = KERNELS[kind]
    axes = others if mode == "xnor" else tuple(range(len(shape)))
    weight = random_values(shape)
    out = binarize(tf.constant(weight), list(axes)).numpy()
    np.testing.assert_allclose(out, binary_weight(weight, axes), rtol=1e-5)
    np.testing.assert_allclose(binary_scale(weight, list(axes)), np.abs(weight).mean(axes, keepdims=True), rtol=1e-5)


@every_kernel
def test_dorefa_has_one_magnitude_and_xnor_one_per_output_filter(kind):
    shape, others = KERNELS[kind]
    weight = tf.constant(random_values(shape))
    assert len(np.unique(np.abs(binarize(weight, list(range(len(shape))))))) == 1
    filters = np.prod([size for axis, size in enumerate(shape) if axis not in others])
    assert len(np.unique(np.abs(binarize(weight, list(others))))) == filters


def test_the_sign_of_zero_is_negative():
    weight = np.array([[0.0, -0.0, 3.0, -1.0]], np.float32)
    np.testing.assert_array_equal(binarize(tf.constant(weight), [0, 1]), [[-1.0, -1.0, 1.0, -1.0]])


def test_a_filter_of_zeros_stays_zero():
    weight = random_values((4, 3))
    weight[:, 1] = 0.0
    out = binarize(tf.constant(weight), [0]).numpy()
    np.testing.assert_array_equal(out[:, 1], 0.0)
    np.testing.assert_allclose(out, binary_weight(weight, 0), rtol=1e-5)


@every_kernel
def test_the_gradient_of_a_binary_weight_is_the_identity(kind):
    shape, others = KERNELS[kind]
    upstream = random_values(shape, seed=1)
    _, gradient = value_and_gradients(lambda w: binarize(w, list(others)), random_values(shape), upstream=upstream)
    np.testing.assert_array_equal(gradient, upstream)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("shape", [(50, 4), (5, 6, 4), (2, 5, 6, 4)])
def test_a_binary_activation_and_its_gradients_are_those_of_the_formula(shape, scale):
    thresholds = np.random.default_rng(2).uniform(0.05, 0.95, shape[-1]).astype(np.float32)
    x = random_values(shape, scale=2.0)
    check_threshold(x, np.float32(scale), thresholds)
    assert {bool(part.any()) for part in (x < 0, (x > 0) & (x < scale), x > scale)} == {True}


def test_gradients_on_the_borders_are_those_of_the_formula():
    x = np.array([[-1.0], [-0.0], [0.0], [1e-30], [1.0], [2.0], [np.nextafter(np.float32(2), 3)], [9.0]], np.float32)
    check_threshold(x, np.float32(2.0), np.float32([0.5]))


def test_a_value_on_the_threshold_becomes_zero():
    x = np.nextafter(np.float32(1.0), np.float32([[0.0], [1.0], [2.0]]))
    out = binary_threshold(tf.constant(x), tf.constant(2.0), tf.constant([0.5])).numpy()
    np.testing.assert_array_equal(out, [[0.0], [0.0], [2.0]])


def test_each_channel_has_the_gradient_of_its_own_threshold():
    x = np.full((3, 4), 0.5, np.float32)
    x[:, 2] = 5.0
    upstream = np.arange(12, dtype=np.float32).reshape(3, 4)
    *_, gradient = value_and_gradients(
        binary_threshold, x, np.float32(1.0), np.full(4, 0.4, np.float32), upstream=upstream
    )
    np.testing.assert_array_equal(gradient, [-12.0, -15.0, 0.0, -21.0])


def test_a_batch_of_unknown_size_is_computed_in_a_graph():
    @tf.function(input_signature=[tf.TensorSpec([None, None, 3])])
    def gradients(x):
        scale, thresholds = tf.constant(1.5), tf.constant([0.2, 0.5, 0.8])
        with tf.GradientTape() as tape:
            tape.watch([x, scale, thresholds])
            out = binary_threshold(x, scale, thresholds)
        return tape.gradient(out, [x, scale, thresholds])

    x = random_values((4, 5, 3), scale=2.0)
    expected = activation_gradients(x, np.float32(1.5), np.float32([0.2, 0.5, 0.8]), np.ones_like(x))
    for received, wanted in zip(gradients(x), expected, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=1e-4, atol=1e-4)
