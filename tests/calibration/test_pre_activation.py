"""What a layer makes without bias and activation function, and hooks on its calls that leave no trace."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.calibration.layer_hooks import hooked_calls
from keras_compress.calibration.pre_activation import mean_over_positions, pre_activation

layers = keras.layers
RANDOM = np.random.default_rng(0)


def built(layer, shape):
    layer.build(tf.TensorShape((None, *shape)))
    layer.bias.assign(RANDOM.normal(size=layer.bias.shape))
    return layer


def test_bias_and_activation_are_left_out_and_the_kernel_replaced():
    layer = built(layers.Dense(3, "relu"), (4,))
    variables, attributes = list(layer.variables), dict(vars(layer))
    x, kernel = RANDOM.normal(size=(5, 4)).astype(np.float32), RANDOM.normal(size=(4, 3)).astype(np.float32)
    made = pre_activation(layer, tf.constant(x), tf.constant(kernel), "kernel")
    np.testing.assert_allclose(made, x @ kernel, atol=1e-6)
    assert (made.numpy() < 0).any()
    assert vars(layer) == attributes
    assert [a is b for a, b in zip(layer.variables, variables, strict=True)] == [True, True]


def test_a_strided_convolution_by_hand():
    layer = built(layers.Conv1D(2, 2, 2, activation="sigmoid"), (5, 3))
    x = RANDOM.normal(size=(4, 5, 3)).astype(np.float32)
    expected = np.stack([np.einsum("bkc,kco->bo", x[:, at : at + 2], layer.kernel.numpy()) for at in (0, 2)], axis=1)
    np.testing.assert_allclose(pre_activation(layer, tf.constant(x), layer.kernel, "kernel"), expected, atol=1e-6)


def test_it_is_computed_in_the_type_of_the_inputs():
    layer = built(layers.Dense(3, dtype="mixed_float16"), (4,))
    x = np.full((1, 4), 50_000, np.float32)
    made = pre_activation(layer, tf.constant(x), tf.ones((4, 3)), "kernel")
    assert made.dtype == tf.float32
    np.testing.assert_array_equal(made, np.full((1, 3), 200_000))
    assert layer(x).dtype == tf.float16


def test_the_layer_is_whole_again_after_an_error():
    layer = built(layers.Dense(3, "relu"), (4,))
    attributes = dict(vars(layer))
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        pre_activation(layer, tf.ones((1, 9)), tf.ones((4, 3)), "kernel")
    assert vars(layer) == attributes


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 3), (2, 1)])
def test_the_mean_has_the_shape_of_the_bias(shape):
    outputs = RANDOM.normal(size=(6, 4, 2, 3)).astype(np.float32)
    expected = outputs.mean(axis=(0, 1))  # one number for each index of the last two axes
    expected = {
        (3,): expected.mean(axis=0),
        (2, 3): expected,
        (1, 3): expected.mean(axis=0, keepdims=True),
        (2, 1): expected.mean(axis=1, keepdims=True),
    }[shape]
    found = mean_over_positions(layers.Dense(3), tf.constant(outputs), tf.TensorShape(shape))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_channels_may_come_first():
    layer = layers.Conv2D(3, 1, data_format="channels_first")
    outputs = RANDOM.normal(size=(6, 3, 4, 5)).astype(np.float32)
    found = mean_over_positions(layer, tf.constant(outputs), tf.TensorShape((3,)))
    np.testing.assert_allclose(found, outputs.mean(axis=(0, 2, 3)), atol=1e-6)


def test_the_mean_of_half_precision_does_not_overflow():
    outputs = tf.fill((100, 3), tf.constant(60_000, tf.float16))
    np.testing.assert_allclose(mean_over_positions(layers.Dense(3), outputs, tf.TensorShape((3,))), 60_000, rtol=1e-3)


def test_a_hook_stands_for_a_call_while_the_context_lasts():
    layer, other = built(layers.Dense(3), (4,)), built(layers.Dense(3), (4,))
    x = tf.ones((2, 4))
    before = layer(x).numpy()
    seen = []

    def hook(call, inputs):
        seen.append(inputs.numpy())
        return -call(inputs)

    with hooked_calls({layer: hook}):
        np.testing.assert_array_equal(layer(x), -before)
        other(x)
    np.testing.assert_array_equal(layer(x), before)
    assert len(seen) == 1
    assert "call" not in vars(layer)


def test_hooks_are_taken_off_when_the_context_ends_with_an_error():
    layer = built(layers.Dense(3), (4,))
    with pytest.raises(KeyError, match="stop"), hooked_calls({layer: lambda call, inputs: inputs}):
        raise KeyError("stop")
    assert layer(tf.ones((2, 4))).shape == (2, 3)


def test_python_conditions_of_a_hooked_layer_work_in_a_traced_graph():
    class Halving(layers.Layer):
        def call(self, inputs):
            if tf.reduce_sum(inputs) > 0:
                inputs = inputs / 2
            return inputs

    layer = Halving()
    with hooked_calls({layer: lambda call, inputs: call(inputs)}):
        run = tf.function(lambda x: layer(x)).get_concrete_function(tf.TensorSpec([None], tf.float32))
    assert run(tf.constant([4.0])).numpy().tolist() == [2.0]
    assert run(tf.constant([-4.0])).numpy().tolist() == [-4.0]
