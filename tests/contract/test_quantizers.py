"""What every quantizer must keep to. A new subclass of FakeQuantize in the package is checked here without any change."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import deserialize, keras, serialize
from keras_compress.layers import FakeQuantize, Stage


def subclasses(base):
    return {base, *(found for child in base.__subclasses__() for found in subclasses(child))}


QUANTIZERS = sorted(
    (
        found
        for found in subclasses(FakeQuantize)
        if found.__module__.startswith("keras_compress.") and not getattr(found.range, "__isabstractmethod__", False)
    ),
    key=lambda found: found.__name__,
)
SHAPES = {(6,): None, (5, 4): (-1,), (2, 3, 4): (0, 2), (3, 3, 2, 4): (-2, -1)}

every_quantizer = pytest.mark.parametrize("quantizer", QUANTIZERS)
every_shape = pytest.mark.parametrize("shape", SHAPES)


def measured(quantizer, shape, **settings):
    """Return a built quantizer whose range holds most of a normal distribution."""
    op = quantizer(channel_axes=SHAPES[shape], **settings)
    op.build(shape)
    size = op.range_shape(shape)
    op.set_range(np.full(size, -1.0, np.float32), np.full(size, 1.5, np.float32))
    return op


def values(shape):
    return tf.constant(np.random.default_rng(1).normal(size=shape), tf.float32)


def test_the_known_quantizers_are_found():
    assert {quantizer.__name__ for quantizer in QUANTIZERS} >= {"SymmetricFakeQuantize", "AsymmetricFakeQuantize"}


@every_shape
@every_quantizer
def test_shape_and_type_are_kept(quantizer, shape):
    op = measured(quantizer, shape)
    for dtype in (tf.float32, tf.float16):
        out = op(tf.cast(values(shape), dtype))
        assert (out.shape, out.dtype) == (shape, dtype)
    assert op.stage is Stage.QUANTIZE


@every_shape
@every_quantizer
def test_inside_the_range_it_rounds_to_within_half_a_step_and_outside_it_clips(quantizer, shape):
    op = measured(quantizer, shape, num_bits=4)
    x = values(shape)
    low, high = op.range()
    step = (high - low) / 15
    inside = tf.clip_by_value(x, low, high)
    assert float(tf.reduce_max(tf.abs(op(x) - inside) - 0.5 * step)) < 1e-5


@every_quantizer
def test_quantizing_twice_is_quantizing_once(quantizer):
    op = measured(quantizer, (5, 4), num_bits=4)
    once = op(values((5, 4)))
    np.testing.assert_allclose(op(once), once, rtol=1e-5, atol=1e-6)


@every_shape
@every_quantizer
def test_gradients_to_the_input_and_to_every_range_are_defined(quantizer, shape):
    op = measured(quantizer, shape, num_bits=4)
    x = 2.0 * values(shape)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(tf.square(op(x)))
    gradients = tape.gradient(total, [x, *op.trainable_variables])
    assert op.trainable_variables
    assert [gradient.shape for gradient in gradients] == [x.shape, *(v.shape for v in op.trainable_variables)]
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


@pytest.mark.parametrize("half_range", [False, True])
@every_shape
@every_quantizer
def test_configuration_round_trip(quantizer, shape, half_range):
    op = measured(quantizer, shape, num_bits=5, half_range=half_range, name="op")
    again = deserialize(json.loads(json.dumps(serialize(op))))
    again.build(shape)
    again.set_weights(op.get_weights())
    assert type(again) is quantizer
    assert again.get_config() == op.get_config()
    np.testing.assert_array_equal(again(values(shape)), op(values(shape)))


@every_quantizer
def test_a_model_with_it_is_saved_and_loaded_to_the_bit(quantizer, tmp_path):
    op = measured(quantizer, (5, 4), num_bits=3)
    model = keras.Sequential([keras.Input((4,)), op])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(values((5, 4))), model(values((5, 4))))
