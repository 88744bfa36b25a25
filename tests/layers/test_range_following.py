"""Ranges of activations widen in training where too many values lie beyond them, by the share of these, and nowhere else."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.layers import AsymmetricFakeQuantize, SymmetricFakeQuantize
from keras_compress.layers.range_following import share_allowed


def quantizer(kind=SymmetricFakeQuantize, low=0.0, high=1.0, shape=(4,), **options):
    made = kind(**options)
    made.build((None, *shape))
    made.set_range(np.float32(low), np.float32(high))
    return made


def ends(made):
    return [float(end) for end in made.range()]


def with_share(share, beyond, inside, count=1000):
    values = np.full((count, 4), inside, np.float32)
    values[: round(share * count)] = beyond
    return tf.constant(np.random.default_rng(0).permutation(values))


@pytest.mark.parametrize(("share", "factor"), [(0.0, 1.0), (0.01, 1.0), (0.02, 1.0), (0.05, 1.05), (0.5, 1.5)])
def test_a_range_grows_by_the_share_of_values_beyond_it(share, factor):
    made = quantizer()
    made(with_share(share, 7.0, 0.5), training=True)
    assert ends(made) == pytest.approx([0.0, factor], rel=1e-6)


@pytest.mark.parametrize("training", [False, None])
def test_nothing_grows_outside_of_training(training):
    made = quantizer()
    made(with_share(0.5, 7.0, 0.5), training=training)
    assert ends(made) == [0.0, 1.0]


def test_both_ends_of_a_signed_range_count():
    made = quantizer(low=-1.0)
    low, high = ends(made)
    made(with_share(0.1, -7.0, 0.5), training=True)
    assert ends(made) == pytest.approx([1.1 * low, 1.1 * high])


def test_negative_values_do_not_widen_a_range_without_a_sign():
    made = quantizer()
    made(with_share(0.5, -7.0, 0.5), training=True)
    assert ends(made) == [0.0, 1.0]


def test_each_end_of_an_asymmetric_range_grows_by_itself():
    low, high = ends(quantizer(AsymmetricFakeQuantize, -1.0, 3.0))  # zero is on the grid
    width = high - low
    for beyond, expected in ((7.0, [-1.0, 3.0 + 0.05 * width]), (-7.0, [-1.0 - 0.1 * width, 3.0])):
        made = quantizer(AsymmetricFakeQuantize, -1.0, 3.0)
        made(with_share(0.1 if beyond < 0 else 0.05, beyond, 0.5), training=True)
        assert [float(made.range_min), float(made.range_max)] == pytest.approx(expected)


@pytest.mark.parametrize(
    "options", [{"fixed_range": (0.0, 1.0)}, {"trainable": False}, {"channel_axes": (-1,)}], ids=lambda o: next(iter(o))
)
def test_fixed_frozen_and_per_channel_ranges_stay(options):
    made = SymmetricFakeQuantize(**options)
    made.build((None, 4))
    made.set_range(*(np.full(made.range_variable_shape, end, np.float32) for end in (0, 1)))
    made(with_share(0.5, 7.0, 0.5), training=True)
    assert np.all(made.range()[1] == 1)


def test_the_fewer_levels_the_more_may_be_cut_off():
    assert [share_allowed(bits) for bits in (8, 4, 2)] == pytest.approx([0.02, 0.08, 0.16])
    made = quantizer(num_bits=4)
    made(with_share(0.05, 7.0, 0.5), training=True)
    assert ends(made) == [0.0, 1.0]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_ranges_grow_in_traced_steps(jit_compile):
    made = quantizer()
    step = tf.function(lambda values: made(values, training=True), jit_compile=jit_compile)
    for _ in range(2):
        step(with_share(0.5, 7.0, 0.5))
    assert ends(made) == pytest.approx([0.0, 2.25])


def test_replicas_agree_on_what_they_find():
    devices = tf.config.list_logical_devices("CPU")
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices[:2]])
    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), quantizer()])
    step = tf.function(lambda values: strategy.run(lambda: model(values, training=True)))
    step(with_share(0.5, 7.0, 0.5))
    assert ends(model.layers[0]) == pytest.approx([0.0, 1.5])
