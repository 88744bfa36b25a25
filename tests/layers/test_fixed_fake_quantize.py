"""The fixed quantizer of exports gives what the trained quantizer gives, whatever the axes of the channels."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import deserialize, serialize
from keras_compress.layers import AsymmetricFakeQuantize, FixedFakeQuantize, SymmetricFakeQuantize

SHAPES = {
    (5, 4): [None, (-1,), (0,), (0, 1)],
    (3, 2, 4, 5): [None, (-1,), (3,), (0,), (-2,), (-2, -1), (0, 3), (1, 2)],
}
CASES = [(shape, axes) for shape, choices in SHAPES.items() for axes in choices]


def pair(trained, shape, axes):
    """Return a trained quantizer with random ranges and the fixed quantizer of the same ranges."""
    generator = np.random.default_rng(0)
    trained.build(shape)
    size = trained.range_shape(shape)
    trained.set_range(-generator.uniform(0.5, 2, size), generator.uniform(0.5, 2, size))
    fixed = FixedFakeQuantize(trained.num_bits, trained.narrow_range, axes)
    fixed.build(shape)
    for variable, end in zip((fixed.low, fixed.high), trained.range(), strict=True):
        variable.assign(tf.reshape(end, variable.shape))
    return trained, fixed


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("quantizer", [SymmetricFakeQuantize, AsymmetricFakeQuantize])
@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_it_equals_the_trained_quantizer(shape, axes, quantizer, bits):
    trained, fixed = pair(quantizer(bits, channel_axes=axes), shape, axes)
    values = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(fixed(values), trained(values), rtol=1e-5, atol=1e-6)


def test_it_equals_the_trained_quantizer_of_weights():
    trained, fixed = pair(SymmetricFakeQuantize(8, narrow_range=True, channel_axes=(-2,)), (3, 2, 4, 5), (-2,))
    values = np.random.default_rng(1).normal(size=(3, 2, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(fixed(values), trained(values), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axes", [None, (-1,), (1,), (1, 2)])
def test_the_batch_may_be_open(axes):
    trained, fixed = pair(AsymmetricFakeQuantize(8, channel_axes=axes), (1, 3, 4), axes)
    infer = tf.function(fixed, input_signature=[tf.TensorSpec([None, 3, 4])])
    for batch in (1, 5):
        values = np.random.default_rng(batch).normal(size=(batch, 3, 4)).astype(np.float32)
        np.testing.assert_allclose(infer(values), trained(values), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_float_types_are_kept(dtype):
    _, fixed = pair(SymmetricFakeQuantize(), (2, 3), None)
    assert fixed(tf.zeros((2, 3), dtype)).dtype == dtype


def test_nothing_is_trained_and_the_configuration_comes_back():
    _, fixed = pair(SymmetricFakeQuantize(4, channel_axes=(0,)), (2, 3), (0,))
    assert fixed.trainable_variables == []
    assert deserialize(serialize(fixed)).get_config() == fixed.get_config()
