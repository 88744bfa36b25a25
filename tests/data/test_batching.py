"""Batches are of one size: the last of them is filled up, and what differs in shape comes in batches of its own."""

import numpy as np

from keras_compress.data import Dataset, InputSpec

X = np.arange(30, dtype=np.float32).reshape(10, 3)


def test_the_last_batch_is_filled_with_its_last_row():
    *_, last = Dataset(X).batches([InputSpec("x", (3,), "float32")], batch_size=4)
    assert last.samples == 2
    np.testing.assert_array_equal(last.inputs[0], X[[8, 9, 9, 9]])


def test_open_sizes_that_differ_come_in_batches_of_their_own():
    words = [InputSpec("words", (None,), "float32")]
    data = Dataset([np.zeros((2, 4), np.float32), np.ones((3, 6), np.float32), np.ones((2, 6), np.float32)])
    found = [(batch.inputs[0].shape, batch.samples) for batch in data.batches(words, 4)]
    assert found == [((4, 4), 2), ((4, 6), 4), ((4, 6), 1)]
