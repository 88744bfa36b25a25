"""The scheduler moves with the epochs and batches of fit, also of a second fit and of one that starts later."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

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


def fit(scheduler, *, batches=3, steps_per_execution=1, **options):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", steps_per_execution=steps_per_execution)
    x = np.zeros((4 * batches, 2), np.float32)
    model.fit(x, x[:, :1], batch_size=4, callbacks=[SchedulerCallback(scheduler)], verbose=0, **options)


def fit_on(scheduler, data, **options):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(data, callbacks=[SchedulerCallback(scheduler)], verbose=0, **options)


def warnings_of(final_epoch, before=(), **options):
    """Return what a fit warns of, after other fits whose warnings do not count."""
    scheduler = CompressionScheduler(lambda position: None, final_epoch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for earlier in before:
            fit(scheduler, batches=1, **earlier)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(scheduler, batches=1, **options)
    return [str(warning.message) for warning in caught if "Compression" in str(warning.message)]


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
    assert seen[0] == Position(epoch=5, step=5 * 3 - 1)  # the epochs left out count with their steps
    assert seen[0].step_in_epoch == -1
    assert scheduler.position == Position(epoch=6, step=7 * 3 - 1)


def test_validation_does_not_count(scheduler):
    data = (np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32))
    fit(scheduler, epochs=1, validation_data=data)
    assert scheduler.position == Position(epoch=0, step=2)


def test_several_steps_in_one_call_are_all_counted(scheduler, seen):
    fit(scheduler, batches=5, steps_per_execution=2, epochs=2)
    assert [position.step for position in seen if position.step_in_epoch >= 0] == list(range(10))
    assert [position.step_in_epoch for position in seen] == [-1, 0, 1, 2, 3, 4] * 2


def test_fit_tells_how_many_steps_an_epoch_has(scheduler, seen):
    fit(scheduler, batches=3, epochs=1)
    assert {position.steps_per_epoch for position in seen} == {3}
    fit(scheduler, batches=3, epochs=1, steps_per_epoch=2)
    assert scheduler.steps_per_epoch == 2


def test_data_of_unknown_length_leave_what_was_known(scheduler):
    def batches():
        yield from [(np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32))] * 2

    signature = (tf.TensorSpec((4, 2)), tf.TensorSpec((4, 1)))
    data = tf.data.Dataset.from_generator(batches, output_signature=signature)
    fit_on(scheduler, data, epochs=1)
    assert scheduler.steps_per_epoch is None
    scheduler.steps_per_epoch = 2
    fit_on(scheduler, data, epochs=1)
    assert scheduler.steps_per_epoch == 2


@pytest.mark.parametrize(
    ("final_epoch", "options", "warned"),
    [
        (2, {"epochs": 2}, True),
        (3, {"epochs": 2}, True),
        (1, {"epochs": 2}, False),
        (0, {"epochs": 1}, False),
        (-1, {"epochs": 1}, False),
        (None, {"epochs": 1}, False),
        (4, {"initial_epoch": 3, "epochs": 4}, True),
        (3, {"initial_epoch": 3, "epochs": 4}, False),
    ],
)
def test_a_fit_that_ends_before_compression_is_complete_warns(final_epoch, options, warned):
    messages = warnings_of(final_epoch, **options)
    assert len(messages) == warned
    if warned:
        assert f"complete at the start of epoch {final_epoch} " in messages[0]
        assert f"ends with epoch {options['epochs'] - 1}." in messages[0]
        assert "sparsity_target_epoch" in messages[0]


@pytest.mark.parametrize(
    ("before", "options"),
    [
        ([{"epochs": 2}], {"epochs": 2}),
        ([{"epochs": 1}, {"epochs": 1}, {"epochs": 1}], {"epochs": 1}),
        ([{"epochs": 5}], {"epochs": 1}),
        ([{"epochs": 2}], {"initial_epoch": 2, "epochs": 4}),
    ],
)
def test_a_second_fit_that_goes_on_to_the_end_does_not_warn(before, options):
    assert warnings_of(3, before, **options) == []


@pytest.mark.parametrize(
    ("final_epoch", "options"), [(9, {"epochs": 2}), (4, {"epochs": 2}), (4, {"initial_epoch": 2, "epochs": 4})]
)
def test_a_second_fit_that_still_ends_too_early_warns(final_epoch, options):
    assert len(warnings_of(final_epoch, [{"epochs": 2}], **options)) == 1
