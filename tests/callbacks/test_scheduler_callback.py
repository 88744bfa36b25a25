"""The scheduler moves with the epochs and batches of fit, also of a second fit and of one that starts later."""

import numpy as np
import pytest

from keras_compress._keras import keras
from keras_compress.algorithms import Position
from keras_compress.callbacks import SchedulerCallback
from keras_compress.scheduler import CompressionScheduler


@pytest.fixture
def seen():
    return []


@pytest.fixture
def scheduler(seen):
    return CompressionScheduler(seen.append)


def fit(scheduler, *, batches=3, **options):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.zeros((4 * batches, 2), np.float32)
    model.fit(x, x[:, :1], batch_size=4, callbacks=[SchedulerCallback(scheduler)], verbose=0, **options)


def test_an_epoch_comes_before_its_steps(scheduler, seen):
    fit(scheduler, batches=2, epochs=2)
    expected = [(0, -1), (0, 0), (0, 1), (1, 1), (1, 2), (1, 3)]
    assert seen == [Position(*position) for position in expected]


def test_a_second_fit_goes_on(scheduler):
    fit(scheduler, epochs=2)
    fit(scheduler, epochs=1)
    assert scheduler.position == Position(epoch=2, step=8)


def test_a_second_fit_with_initial_epoch_goes_on(scheduler):
    fit(scheduler, epochs=2)
    fit(scheduler, initial_epoch=2, epochs=3)
    assert scheduler.position == Position(epoch=2, step=8)


def test_a_fit_that_starts_later_takes_the_scheduler_along(scheduler, seen):
    fit(scheduler, initial_epoch=5, epochs=7)
    assert [position.epoch for position in seen if position.step == -1] == [5]
    assert scheduler.position == Position(epoch=6, step=5)


def test_validation_does_not_count(scheduler):
    data = (np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32))
    fit(scheduler, epochs=1, validation_data=data)
    assert scheduler.position == Position(epoch=0, step=2)
