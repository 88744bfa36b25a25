"""Rows of batches: samples are repeated to fill a batch up, and results are cut down to those that count."""

import numpy as np
import pytest

from keras_compress.batch_rows import filled_up, rows_of_samples


@pytest.mark.parametrize(("size", "expected"), [(2, [4, 5]), (3, [4, 5, 6]), (5, [4, 5, 6, 6, 6]), (0, [])])
def test_the_last_sample_fills_a_batch_up(size, expected):
    assert filled_up(np.array([4, 5, 6]), size).tolist() == expected


@pytest.mark.parametrize(
    ("shape", "kept"),
    [
        ((4, 2), (3, 2)),
        ((8, 2), (6, 2)),  # two rows for each sample
        ((5, 2), (5, 2)),  # not of the batch
        ((), ()),
    ],
)
def test_results_are_cut_down_to_the_samples_that_count(shape, kept):
    made = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    found = rows_of_samples(made, batch_size=4, samples=3)
    assert found.shape == kept
    np.testing.assert_array_equal(found.reshape(-1), made.reshape(-1)[: found.size])


def test_a_full_batch_stays_whole():
    made = np.ones((4, 2))
    assert rows_of_samples(made, batch_size=4, samples=4) is made
