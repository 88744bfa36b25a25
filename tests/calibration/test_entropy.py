"""The range of least divergence, against the divergence written out bin by bin."""

import numpy as np
import pytest

from keras_compress.calibration.entropy import (
    BINS,
    EntropyEstimator,
    ExactEntropyEstimator,
    entropy_range,
)
from tests.calibration.grids import QUANTIZERS, VALUES, found, grid, random_values, squared_error

ESTIMATORS = [EntropyEstimator, ExactEntropyEstimator]


def magnitudes(values):
    return np.histogram(np.abs(values[values != 0]), BINS, (0, np.abs(values).max()))[0]


def divergence(kind, bits, counts, low, high, bins):
    """Return the divergence of the grid over values clipped to a threshold of so many bins, one bin after the other."""
    width = max(-low, high) / BINS
    threshold = bins * width
    step, _, _ = grid(kind, bits, max(low, -threshold), min(high, threshold))
    if bins < round(threshold / step) + 1:
        return np.inf
    inside, outliers = counts[:bins].astype(float), counts[bins:].sum()
    reference = inside.copy()
    reference[-1] += outliers
    levels = [int(np.ceil((index + 0.5) * width / step - 0.5)) for index in range(bins)]
    candidate = np.zeros(bins)
    for level in set(levels):
        members = [index for index in range(bins) if levels[index] == level and reference[index] > 0]
        for index in members:
            candidate[index] = sum(inside[members]) / len(members)
    if not inside.sum():
        return np.inf
    total, candidate = reference.sum(), np.maximum(candidate / inside.sum(), 1e-9)
    return sum(p / total * np.log(p / total / q) for p, q in zip(reference, candidate, strict=True) if p)


@pytest.mark.parametrize("values", ["normal", "rectified", "skewed"])
@pytest.mark.parametrize(("kind", "bits"), [("symmetric", 8), ("weights", 4), ("asymmetric", 8)])
def test_no_threshold_has_less_divergence(kind, bits, values):
    values = random_values(values, 20_000)
    low, high, counts = values.min(), values.max(), magnitudes(values)
    tried = range(BINS, 1, -64)
    divergences = [divergence(kind, bits, counts, low, high, bins) for bins in tried]
    ends = entropy_range(low[np.newaxis], high[np.newaxis], counts[np.newaxis], QUANTIZERS[kind](bits))
    bins = round(max(-ends[0].item(), ends[1].item()) / max(-low, high) * BINS)
    assert divergence(kind, bits, counts, low, high, bins) <= min(divergences) + 1e-9


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_ends_are_the_extremes_clipped_to_one_threshold(estimator, values):
    values = random_values(values, 20_000)
    low, high = (end.item() for end in found(estimator, QUANTIZERS["symmetric"](8), values))
    threshold = max(-low, high)
    np.testing.assert_allclose([low, high], np.clip([values.min(), values.max()], -threshold, threshold), rtol=1e-6)


@pytest.mark.parametrize("values", ["normal", "laplace", "rectified"])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_histogram_leads_to_about_the_range_of_the_values(bits, values):
    values = random_values(values, 400_000)
    exact, ours = (found(estimator, QUANTIZERS["symmetric"](bits), values) for estimator in reversed(ESTIMATORS))
    np.testing.assert_allclose(ours[1], exact[1], rtol=0.08)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_tails_are_cut_off_and_an_even_distribution_is_not(estimator):
    quantizer = QUANTIZERS["symmetric"](8)
    laplace, uniform = random_values("laplace", 400_000), random_values("uniform", 400_000)
    low, high = found(estimator, quantizer, laplace)
    assert max(-low, high) < 0.8 * np.abs(laplace).max()
    assert squared_error("symmetric", 8, laplace, *low, *high) < squared_error(
        "symmetric", 8, laplace, laplace.min(), laplace.max()
    )
    assert found(estimator, quantizer, uniform) == (uniform.min(), uniform.max())


@pytest.mark.parametrize("magnitude", [-66, -20, 20, 66])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_ranges_scale_with_the_data(estimator, magnitude):
    values, factor = random_values("skewed", 20_000), np.float32(2.0**magnitude)
    unit, scaled = (found(estimator, QUANTIZERS["symmetric"](8), numbers) for numbers in (values, values * factor))
    np.testing.assert_array_equal(scaled, np.array(unit) * factor)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_zeros_have_no_influence(estimator):
    values = random_values("laplace", 50_000)
    with_zeros = np.concatenate([values, np.zeros(200_000, np.float32)])
    quantizer = QUANTIZERS["symmetric"](8)
    assert found(estimator, quantizer, with_zeros) == found(estimator, quantizer, values)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_outlier_among_a_million_values_is_cut_off(estimator):
    values = random_values("normal", 1_000_000)
    values[7] = 1000.0
    low, high = found(estimator, QUANTIZERS["symmetric"](8), values)
    assert low == values.min()
    assert values[:7].max() < high < 100.0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_channels_have_the_ranges_they_would_have_alone(estimator):
    values = np.stack(
        [random_values(name, 400_000, seed) for seed, name in enumerate(["normal", "laplace", "uniform"])], 1
    )
    values *= np.array([0.01, 1.0, 100.0], np.float32)
    low, high = found(estimator, QUANTIZERS["symmetric"](8, (-1,)), values)
    for channel, column in enumerate(values.T):
        alone = found(ExactEntropyEstimator, QUANTIZERS["symmetric"](8), column)
        tolerance = 1e-6 if estimator is ExactEntropyEstimator else 0.06
        np.testing.assert_allclose(max(-low[channel], high[channel]), max(-alone[0], alone[1])[0], rtol=tolerance)
