"""Every range estimator against NumPy on random data, whatever the batches and their order.

Those that look at a grid are compared with NumPy in test_mse.py and test_entropy.py.
"""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress.calibration.histogram_estimators import Percentile
from keras_compress.calibration.range_measurement import ESTIMATORS
from keras_compress.layers import SymmetricFakeQuantize

PERCENTILES = (2.0, 97.0)


def data(channels, samples=40, values=60, seed=0):
    """Skewed random values of shape (samples, values, channels), each channel of another magnitude."""
    generator = np.random.default_rng(seed)
    base = generator.normal(size=(samples, values, channels)) ** 3 + 0.3
    return (base * 10.0 ** np.arange(-2, channels - 2)).astype(np.float32)


def measured(name, values, batches=(7,), percentiles=PERCENTILES):
    """Return the range after the samples came in batches of the given sizes, over and over."""
    low, high = percentiles
    settings = {"low_percentile": low, "high_percentile": high, "quantizer": SymmetricFakeQuantize(8)}
    estimator = ESTIMATORS[name](values.shape[-1], **settings)
    start = step = 0
    while start < len(values):
        size = batches[step % len(batches)]
        estimator.update(tf.constant(values[start : start + size]))
        start, step = start + size, step + 1
    return estimator.range()


def exact(name, values):
    """What each estimator stands for, in NumPy with float64."""
    values = values.astype(np.float64)
    low, high = PERCENTILES
    joined = values.reshape(-1, values.shape[-1])
    if name == "min_max" or (name == "mixed_min_max" and values.shape[1] < 1024):
        return joined.min(0), joined.max(0)
    if name in ("mean_min_max", "mixed_min_max"):
        return values.min(1).mean(0), values.max(1).mean(0)
    if name == "percentile":
        return np.percentile(joined, low, axis=0), np.percentile(joined, high, axis=0)
    if name == "mean_percentile":
        return np.percentile(values, low, axis=1).mean(0), np.percentile(values, high, axis=1).mean(0)
    median = np.median(joined, axis=0)
    spread = 3 * 1.4826 * np.median(np.abs(joined - median), axis=0)
    return median - spread, median + spread


# Relative to the width of the range. Histograms know a value to within 1 %, with several channels less exactly.
TOLERANCE = {
    ("percentile", 1): 0.01,
    ("percentile", 3): 0.06,
    ("threesigma", 1): 0.02,
    ("threesigma", 3): 0.1,
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [name for name in ESTIMATORS if not ESTIMATORS[name].needs_grid])
def test_the_range_is_that_of_numpy(name, channels):
    values = data(channels)
    expected = exact(name, values)
    tolerance = TOLERANCE.get((name, channels), 1e-5)
    for ours, theirs in zip(measured(name, values), expected, strict=True):
        assert ours.dtype == np.float32
        assert ours.shape == (channels,)
        assert (np.abs(ours - theirs) <= tolerance * (expected[1] - expected[0])).all()


@pytest.mark.parametrize(("count", "mean"), [(1023, False), (1024, True), (3000, True)])
def test_mixed_min_max_is_a_mean_only_of_samples_with_many_values(count, mean):
    values = data(1, samples=5, values=count)
    other = exact("mean_min_max" if mean else "min_max", values)
    np.testing.assert_allclose(measured("mixed_min_max", values), other, rtol=1e-6)


@pytest.mark.parametrize("batches", [(1,), (40,), (3, 11)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_size_of_the_batches_makes_no_difference(name, channels, batches):
    values = data(channels)
    np.testing.assert_array_equal(measured(name, values, batches), measured(name, values))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_order_of_the_samples_makes_no_difference(name, channels):
    values = data(channels)
    shuffled = values[np.random.default_rng(5).permutation(len(values))]
    np.testing.assert_array_equal(measured(name, shuffled), measured(name, values))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_channels_are_independent(name):
    values = data(3)
    wider = values.copy()
    wider[..., 1] *= 1000
    before, after = measured(name, values), measured(name, wider)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one[[0, 2]], other[[0, 2]])
        assert np.abs(other[1]) > 100 * np.abs(one[1])


@pytest.mark.parametrize("magnitude", [1e-20, 1e-6, 1.0, 1e6, 1e20])
@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "entropy"])  # which needs more values
def test_ranges_scale_with_the_data(name, magnitude):
    values = data(1)
    unit, scaled = measured(name, values), measured(name, values * np.float32(magnitude))
    np.testing.assert_allclose(np.array(scaled, np.float64) / magnitude, unit, rtol=0.02)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_zeros_give_a_range_of_zero(name):
    np.testing.assert_array_equal(measured(name, np.zeros((4, 9, 2), np.float32)), 0.0)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_one_value_gives_a_range_around_it(name):
    low, high = measured(name, np.full((4, 9, 1), 2.5, np.float32))
    np.testing.assert_allclose([low, high], 2.5, rtol=0.01)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0, 50.0, 99.9, 100.0])
def test_any_percentile_is_known_to_within_its_bin(share, channels):
    values = np.abs(data(channels, samples=200)) + 0.001
    expected = np.percentile(values.reshape(-1, channels).astype(np.float64), share, axis=0)
    (ours, _) = measured("percentile", values, percentiles=(share, 100.0))
    assert (np.abs(ours / expected - 1) < (0.01 if channels == 1 else 0.125)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_percentiles_0_and_100_are_the_extremes(channels):
    values = data(channels)
    expected = exact("min_max", values)
    ours = measured("percentile", values, percentiles=(0.0, 100.0))
    np.testing.assert_allclose(ours, expected, rtol=0.01 if channels == 1 else 0.13)


def test_mostly_zeros_give_percentiles_of_exactly_zero():
    values = np.zeros((10, 100, 1), np.float32)
    values[:, 0] = 3.0
    low, high = measured("percentile", values, percentiles=(1.0, 90.0))
    assert (low, high) == (0.0, 0.0)


def test_a_few_outliers_do_not_move_a_percentile():
    values = data(1, samples=200)
    calm = measured("percentile", values)
    values[0, 0, 0] = 1e30
    np.testing.assert_allclose(measured("percentile", values), calm, rtol=0.01)


def test_memory_does_not_grow_with_the_samples():
    estimator = Percentile(2)
    before = estimator.counts.shape
    for _ in range(3):
        estimator.update(tf.constant(data(2)))
    assert estimator.counts.shape == before
    assert int(tf.reduce_sum(estimator.counts)) == 3 * data(2).size
