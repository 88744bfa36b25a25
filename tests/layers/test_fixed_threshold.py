"""FixedThreshold computes the bits of the trained binary activation it stands for, and trains nothing."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import deserialize, serialize
from keras_compress.layers import BinaryActivation, FixedThreshold


def trained_and_fixed(channels=4):
    """Return a binary activation that is on, and a fixed one with its numbers."""
    op, fixed = BinaryActivation(), FixedThreshold()
    for layer in (op, fixed):
        layer.build((None, channels))
    op.active.assign(True)
    op.log_scale.assign(0.3)
    op.threshold_logits.assign(np.linspace(-2, 2, channels))
    scale, thresholds = op.levels()
    fixed.scale.assign(scale)
    fixed.thresholds.assign(scale * thresholds)
    return op, fixed


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_same_bits_also_on_the_thresholds(dtype):
    op, fixed = trained_and_fixed()
    x = np.random.default_rng(0).normal(scale=2.0, size=(50, 4)).astype(np.float32)
    x[0], x[1], x[2] = fixed.thresholds, 0.0, fixed.scale
    x = tf.cast(x, dtype)
    assert fixed(x).dtype == dtype
    np.testing.assert_array_equal(tf.cast(fixed(x), tf.float32), tf.cast(op(x), tf.float32))


def test_nothing_is_trained():
    _, fixed = trained_and_fixed()
    assert fixed.trainable_variables == []
    assert {variable.name: variable.shape for variable in fixed.variables} == {"thresholds:0": (4,), "scale:0": ()}


def test_configuration_round_trip():
    fixed = FixedThreshold(name="fixed")
    again = deserialize(json.loads(json.dumps(serialize(fixed))))
    assert type(again) is FixedThreshold
    assert again.get_config() == fixed.get_config()
