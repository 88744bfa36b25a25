"""What holds for every estimator that looks at the grid of a quantizer, by histograms or exactly."""

import numpy as np
import pytest

from keras_compress.calibration.entropy import EntropyEstimator, ExactEntropyEstimator
from keras_compress.calibration.mse import ExactMSEEstimator, MSEEstimator
from tests.calibration.grids import QUANTIZERS, found, random_values

pytestmark = [
    pytest.mark.parametrize("estimator", [MSEEstimator, ExactMSEEstimator, EntropyEstimator, ExactEntropyEstimator]),
    pytest.mark.parametrize("kind", QUANTIZERS),
]


@pytest.mark.parametrize("bits", [4, 8])
def test_order_and_batches_make_no_difference(bits, kind, estimator):
    values = random_values("laplace", 20_000)
    shuffled = np.random.default_rng(1).permutation(values)
    expected = found(estimator, QUANTIZERS[kind](bits), values)
    assert found(estimator, QUANTIZERS[kind](bits), shuffled, batches=8) == expected


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("value", [2.5, -2.5, 1e-20, 1e20, 0.0])
def test_a_single_value_is_its_own_range(value, bits, kind, estimator):
    low, high = found(estimator, QUANTIZERS[kind](bits), np.full(9, value, np.float32))
    assert low == high == np.float32(value)


def test_values_whose_steps_have_no_reciprocal_keep_their_extremes(kind, estimator):
    values = random_values("normal", 100) * np.float32(1e-32)
    assert found(estimator, QUANTIZERS[kind](8), values) == (values.min(), values.max())
