"""Any number of samples runs in a file that takes a fixed number of them."""

import numpy as np
import pytest

from keras_compress.export.runtimes.run import in_batches_of


@pytest.mark.parametrize("samples", [1, 3, 4, 9])
def test_samples_are_cut_into_batches_and_the_last_one_is_filled_up(samples):
    seen = []

    def run(arrays):
        seen.append([len(array) for array in arrays])
        return [2 * arrays[0], arrays[1].sum(1)]

    one = np.arange(samples * 2).reshape(samples, 2)
    other = np.arange(samples * 3).reshape(samples, 3)
    doubled, sums = in_batches_of(4, run)([one, other])
    np.testing.assert_array_equal(doubled, 2 * one)
    np.testing.assert_array_equal(sums, other.sum(1))
    assert seen == [[4, 4]] * -(-samples // 4)
