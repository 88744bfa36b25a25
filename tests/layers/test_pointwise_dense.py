"""A dense layer that computes as a convolution gives what a matrix product gives."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import deserialize, keras, serialize
from keras_compress.layers import PointwiseDense

RANDOM = np.random.default_rng(0)


def built(units=5, inputs=4, **options):
    """Return a layer with random numbers in it."""
    layer = PointwiseDense(units, **options)
    layer.build((None, inputs))
    for variable in layer.variables:
        variable.assign(RANDOM.normal(size=variable.shape))
    return layer


def by_hand(layer, x):
    product = np.float64(x) @ np.float64(layer.kernel[0, 0])
    return product if layer.bias is None else product + layer.bias.numpy()


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 4), (3, 2, 5, 4), (1, 4), (3, 1, 1, 4)])
@pytest.mark.parametrize("use_bias", [True, False])
def test_it_multiplies_the_last_axis(shape, use_bias):
    layer, x = built(use_bias=use_bias), RANDOM.normal(size=shape).astype(np.float32)
    out = layer(x)
    assert out.shape == (*shape[:-1], 5)
    np.testing.assert_allclose(out, by_hand(layer, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_it_equals_a_dense_layer(rank):
    layer, dense = built(activation="gelu"), keras.layers.Dense(5, "gelu")
    x = RANDOM.normal(size=(2, 3, 6, 4)[4 - rank :]).astype(np.float32)
    dense.build(x.shape)
    dense.set_weights([layer.kernel[0, 0], layer.bias])
    np.testing.assert_allclose(layer(x), dense(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("signature", [(None, 4), (None, 3, 4), (None, None, 4), (None, None, None, 4), (2, None, 4)])
def test_sizes_may_be_unknown(signature):
    layer = built()
    infer = tf.function(layer.__call__, input_signature=[tf.TensorSpec(signature)])
    for size in (2, 7):
        shape = [size if axis is None else axis for axis in signature]
        x = RANDOM.normal(size=shape).astype(np.float32)
        np.testing.assert_allclose(infer(x), by_hand(layer, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (None, 4), (None, None, 4)])
def test_a_model_knows_the_shape_it_makes(shape):
    x = keras.Input(shape)
    model = keras.Model(x, PointwiseDense(5)(x))
    assert model.output_shape[-1] == 5
    assert len(model.output_shape) == len(shape) + 1


def test_softmax_is_taken_over_the_last_axis():
    layer, x = built(activation="softmax"), RANDOM.normal(size=(3, 2, 4)).astype(np.float32)
    powers = np.exp(by_hand(layer, x))
    np.testing.assert_allclose(layer(x), powers / powers.sum(-1, keepdims=True), rtol=1e-5)


def test_a_linear_function_is_the_default():
    assert PointwiseDense(3).activation is keras.activations.linear


def test_the_variables_are_kernel_and_bias():
    assert [variable.shape for variable in built().variables] == [(1, 1, 4, 5), (5,)]
    assert [variable.shape for variable in built(use_bias=False).variables] == [(1, 1, 4, 5)]


@pytest.mark.parametrize("options", [{}, {"use_bias": False, "activation": "softmax"}, {"name": "other"}])
def test_the_configuration_comes_back(options):
    layer = built(**options)
    again = deserialize(serialize(layer))
    assert again.get_config() == layer.get_config()
    assert (again.units, again.use_bias, again.activation) == (5, layer.use_bias, layer.activation)


def test_a_model_with_it_comes_back_from_a_file(tmp_path):
    x = keras.Input((3, 4))
    model = keras.Model(x, PointwiseDense(5, activation="softmax", name="head")(x))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    data = RANDOM.normal(size=(2, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(again(data), model(data))
