"""The range with the least error of quantization, against searches through many ranges."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_compress.calibration import RangeInitializer, calibrate_weight
from keras_compress.calibration.mse import ExactMSEEstimator, MSEEstimator
from keras_compress.layers import SymmetricFakeQuantize
from tests.calibration.grids import QUANTIZERS, VALUES, found, random_values, squared_error
from tests.levels import levels

ESTIMATORS = [MSEEstimator, ExactMSEEstimator]
SIZE = 20_000


@functools.cache
def least(kind, bits, name, size):
    """Return the least error of many ranges: 400 for a symmetric grid, 60 times 60 for an asymmetric one."""
    values = random_values(name, size)
    low, high = values.min(), values.max()
    if kind == "asymmetric":
        shares = np.linspace(0, 1, 61)[1:]
        pairs = [(one, other) for one in shares for other in shares]
    else:
        pairs = [(share, share) for share in np.linspace(0, 1, 401)[1:]]
    return min(squared_error(kind, bits, values, one * low, other * high) for one, other in pairs)


def over_the_bound(estimator, kind, cases, bound):
    """Return the cases ``(bits, name, size)`` in which the error of the range found is greater than ``bound(case)``."""
    found_greater = {}
    for bits, name, size in cases:
        values = random_values(name, size)
        low, high = found(estimator, QUANTIZERS[kind](bits), values)
        error, limit = squared_error(kind, bits, values, *low, *high), bound(bits, name, size)
        if not error <= limit:
            found_greater[bits, name, size] = (error, limit)
    return found_greater


def of_extremes(kind, bits, name, size):
    """Return the error of the range from the least to the greatest value."""
    values = random_values(name, size)
    return squared_error(kind, bits, values, values.min(), values.max())


@pytest.mark.parametrize("kind", ["weights", "symmetric"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_range_of_a_symmetric_grid_is_better(estimator, kind):
    cases = itertools.product([2, 4, 8], VALUES, [SIZE])
    assert over_the_bound(estimator, kind, cases, lambda *case: 1.02 * least(kind, *case)) == {}


@pytest.mark.parametrize("estimator", levels(ESTIMATORS, first=[ExactMSEEstimator]))
def test_no_range_of_an_asymmetric_grid_is_better(estimator):
    cases = itertools.product([2, 4, 8], VALUES, [2_000])
    assert over_the_bound(estimator, "asymmetric", cases, lambda *case: 1.03 * least("asymmetric", *case)) == {}


@pytest.mark.parametrize("kind", levels(QUANTIZERS, first=["symmetric"]))
def test_the_extremes_of_weights_are_never_better(kind):
    cases = itertools.product([2, 3, 5, 8], VALUES, [1, 2, 9, 100, SIZE])
    assert over_the_bound(ExactMSEEstimator, kind, cases, lambda *case: of_extremes(kind, *case) * (1 + 1e-5)) == {}


@pytest.mark.parametrize("kind", levels(QUANTIZERS, first=["symmetric"]))
def test_the_extremes_of_activations_are_not_better_as_far_as_a_histogram_can_tell(kind):
    cases = itertools.product([2, 3, 5, 8], VALUES, [SIZE])
    assert over_the_bound(MSEEstimator, kind, cases, lambda *case: 1.01 * of_extremes(kind, *case)) == {}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_few_bits_cut_off_more_than_many(estimator):
    values = random_values("normal", SIZE)
    ends = [found(estimator, QUANTIZERS["weights"](bits), values)[1].item() for bits in range(2, 9)]
    assert ends == sorted(ends)
    assert ends[0] < 0.5 * ends[-1]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_outlier_among_a_million_values_is_cut_off_if_it_costs_less_than_it_saves(estimator):
    values = random_values("normal", 1_000_000)
    values[7] = 100.0
    calm = np.delete(values, 7)
    low, high = found(estimator, QUANTIZERS["symmetric"](8), values)
    assert calm.max() < high < 50.0
    assert squared_error("symmetric", 8, values, *low, *high) < 0.5 * squared_error("symmetric", 8, values, -5.0, 100.0)
    values[7] = 1e30
    assert found(estimator, QUANTIZERS["symmetric"](8), values)[1] > 9e29


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_one_end_of_an_asymmetric_grid_may_be_cut_off_alone(estimator):
    values = random_values("uniform", SIZE)
    values[0] = -8.0
    low, high = found(estimator, QUANTIZERS["asymmetric"](4), values)
    assert -3.0 < low < -0.9
    assert high > 2.0


@pytest.mark.extended
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_ends_that_shrank_too_far_together_move_apart_again(estimator):
    values = random_values("normal", 1_000_000)
    values[7] = 100.0
    low, high = found(estimator, QUANTIZERS["asymmetric"](4), values)
    best = min(squared_error("asymmetric", 4, values, -one, one) for one in np.linspace(2, 4, 41))
    assert squared_error("asymmetric", 4, values, *low, *high) <= 1.03 * best


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("kind", QUANTIZERS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_channels_have_the_ranges_they_would_have_alone(estimator, kind, bits):
    values = np.stack(
        [random_values(name, SIZE, seed) for seed, name in enumerate(["normal", "laplace", "uniform"])], 1
    )
    values *= np.array([0.01, 1.0, 100.0], np.float32)
    low, high = found(estimator, QUANTIZERS[kind](bits, (-1,)), values)
    for channel, column in enumerate(values.T):
        alone = [end.item() for end in found(ExactMSEEstimator, QUANTIZERS[kind](bits), column)]
        error = squared_error(kind, bits, column, low[channel], high[channel])
        if estimator is ExactMSEEstimator:
            assert [low[channel], high[channel]] == alone
        assert error <= 1.06 * squared_error(kind, bits, column, *alone)


@pytest.mark.parametrize("kind", QUANTIZERS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_channel_of_zeros_does_not_disturb_the_others(estimator, kind):
    values = np.stack([np.zeros(SIZE, np.float32), random_values("normal", SIZE)], 1)
    quantizer = QUANTIZERS[kind](4, (-1,))
    low, high = found(estimator, quantizer, values)
    assert (low[0], high[0]) == (0.0, 0.0)
    assert squared_error(kind, 4, values[:, 1], low[1], high[1]) < 0.6 * squared_error(kind, 4, values[:, 1], -4.0, 4.0)
    quantizer.build((1, 2))
    quantizer.set_range(low[np.newaxis], high[np.newaxis])
    ends = [end.numpy() for end in quantizer.range()]
    assert np.isfinite(ends).all()
    assert (ends[0] < ends[1]).all()


def test_the_error_of_a_quantized_weight_is_the_least():
    weight = random_values("laplace", 9 * 40 * 5).reshape(3, 3, 40, 5)

    def error(kind):
        quantizer = SymmetricFakeQuantize(4, narrow_range=True, channel_axes=(-1,))
        quantizer.build(weight.shape)
        calibrate_weight(quantizer, weight, RangeInitializer(type=kind))
        return np.mean((quantizer(weight) - weight) ** 2, axis=(0, 1, 2))

    assert (error("mse") <= error("min_max")).all()
    assert error("mse").mean() < 0.8 * error("min_max").mean()


def test_ranges_of_many_channels_lie_within_their_extremes():
    weight = random_values("normal", 2_000 * 1_500).reshape(2_000, 1_500)
    quantizer = SymmetricFakeQuantize(8, narrow_range=True, channel_axes=(-1,))
    quantizer.build(weight.shape)
    calibrate_weight(quantizer, weight, RangeInitializer(type="mse"))
    assert tf.reduce_all(quantizer.scale <= np.abs(weight).max(axis=0))
