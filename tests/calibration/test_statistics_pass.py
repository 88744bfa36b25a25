"""One pass over data: every observer sees the rows that are data, as many as it wants, and is detached in the end."""

from contextlib import contextmanager

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import Dataset
from keras_compress.calibration import ValidRows, collect_statistics
from keras_compress.calibration.layer_hooks import hooked_calls
from keras_compress.calibration.statistics_pass import CALIBRATION_BATCH
from tests import zoo
from tests.calibration.corrections import uneven


class Counter:
    """An observer that adds up the inputs of a layer, and notes what becomes of itself."""

    def __init__(self, layer, samples, fails=False):
        self.samples, self._layer, self._fails = samples, layer, fails
        self.sum, self.count = tf.Variable(tf.zeros(4)), tf.Variable(0)
        self.batches, self.on, self.begun = tf.Variable(0), False, 0

    @contextmanager
    def attached(self):
        if self._fails:
            raise KeyError("not attachable")
        self.on = True
        try:
            with hooked_calls({self._layer: self._note}):
                yield
        finally:
            self.on = False

    def begin(self, rows):
        self.begun += 1
        self._rows = rows

    def _note(self, call, inputs):
        seen = self._rows.of(inputs, self._rows.counted(self.samples))
        self.sum.assign_add(tf.reduce_sum(seen, 0))
        self.count.assign_add(tf.shape(seen)[0])
        self.batches.assign_add(1)
        return call(inputs)


@pytest.mark.parametrize("limit", [1, 31, 32, 33, 64, 69, 70, 100])
def test_as_many_samples_count_as_asked_for_and_no_filling(limit):
    model, x = zoo.dense(), uneven((4,), 70)
    observer = Counter(model.get_layer("hidden"), limit)
    collect_statistics(model, [observer], Dataset(x), "test")
    assert int(observer.count) == min(limit, 70)
    np.testing.assert_allclose(observer.sum, x[:limit].sum(axis=0), rtol=1e-5)


def test_observers_may_want_different_numbers_of_samples():
    model, x = zoo.dense(), uneven((4,), 70)
    few, many = Counter(model.get_layer("hidden"), 5), Counter(model.get_layer("out"), 50)
    many.sum = tf.Variable(tf.zeros(8))
    collect_statistics(model, [few, many], Dataset(x), "test")
    assert (int(few.count), int(many.count)) == (5, 50)
    np.testing.assert_allclose(few.sum, x[:5].sum(axis=0), rtol=1e-5)


def test_no_more_data_are_read_than_wanted():
    model, read = zoo.dense(), []

    def rows():
        for number in range(100):
            read.append(number)
            yield np.zeros(4, np.float32)

    collect_statistics(model, [Counter(model.get_layer("hidden"), 7)], Dataset(rows), "test")
    assert len(read) == 7


@pytest.mark.parametrize("observers", [0, 1])
def test_without_a_wish_for_samples_the_data_are_not_read(observers):
    def unreadable():
        raise AssertionError("read")

    model = zoo.dense()
    found = [Counter(model.get_layer("hidden"), 0) for _ in range(observers)]
    collect_statistics(model, found, Dataset(unreadable), "test")
    assert [observer.begun for observer in found] == [0] * observers


@pytest.mark.parametrize(("samples", "begun"), [(5 * CALIBRATION_BATCH + 1, 6), (10_000, 1)])
def test_the_model_is_traced_where_there_are_many_batches(samples, begun):
    model = zoo.dense()
    observer = Counter(model.get_layer("hidden"), samples)
    collect_statistics(model, [observer], Dataset(uneven((4,), 5 * CALIBRATION_BATCH + 1)), "test")
    assert observer.begun == begun
    assert int(observer.batches) == 6


def breaking():
    yield uneven((4,), 40)
    raise KeyError("the user's own")


def empty():
    return iter(())


@pytest.mark.parametrize(("data", "error", "begun"), [(breaking, "the user's own", 1), (empty, "empty", 0)])
def test_observers_are_detached_when_the_data_fail(data, error, begun):
    model = zoo.dense()
    observers = [Counter(model.get_layer(name), 64) for name in ("hidden", "out")]
    observers[1].sum = tf.Variable(tf.zeros(8))
    with pytest.raises(Exception, match=error):
        collect_statistics(model, observers, Dataset(data), "test")
    assert [observer.on for observer in observers] == [False, False]
    assert [observer.begun for observer in observers] == [begun, begun]
    assert all("call" not in vars(layer) for layer in model.layers)


def test_observers_are_detached_when_another_cannot_be_attached():
    model = zoo.dense()
    first, second = Counter(model.get_layer("hidden"), 8), Counter(model.get_layer("out"), 8, fails=True)
    with pytest.raises(KeyError, match="not attachable"):
        collect_statistics(model, [first, second], Dataset(uneven((4,))), "test")
    assert not first.on
    assert "call" not in vars(model.get_layer("hidden"))


def rows(batch_size, samples, seen):
    return ValidRows(*(tf.constant(number) for number in (batch_size, samples, seen)))


@pytest.mark.parametrize(
    ("samples", "seen", "limit", "counted"),
    [(32, 0, 100, 32), (5, 0, 100, 5), (32, 96, 100, 4), (32, 100, 100, 0), (32, 128, 100, 0), (5, 96, 99, 3)],
)
def test_rows_count_up_to_the_limit(samples, seen, limit, counted):
    assert int(rows(32, samples, seen).counted(limit)) == counted


def test_rows_of_a_tensor_with_several_rows_for_each_sample():
    tensor = tf.range(12)
    assert rows(4, 4, 0).of(tensor, tf.constant(2)).numpy().tolist() == [0, 1, 2, 3, 4, 5]
    assert rows(4, 4, 0).of(tensor[:4], tf.constant(2)).numpy().tolist() == [0, 1]
    assert rows(4, 4, 0).of(tensor, tf.constant(0)).numpy().tolist() == []


def test_a_tensor_that_has_nothing_to_do_with_the_batch_is_taken_whole():
    assert rows(4, 4, 0).of(tf.range(7), tf.constant(2)).shape == (7,)
