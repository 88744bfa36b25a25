"""What FitFollower says: of an empty fit, of a rest that is left out, of another seed, of arguments that are not the same."""

import warnings

import numpy as np
import pytest

from keras_compress._keras import keras
from keras_compress.callbacks import SchedulerCallback
from keras_compress.fit_position import FitPosition
from keras_compress.scheduler import CompressionScheduler

STEPS = 4
LOSS = [0.0, 0.0]  # total and count of the mean loss


def fit(scheduler, *, resume=True, **options):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((4 * STEPS, 2), np.float32)
    callbacks = [SchedulerCallback(scheduler, resume=resume)]
    return model.fit(x, x[:, :1], batch_size=4, callbacks=callbacks, verbose=0, **options)


def stopped(epoch, batch, **values):
    """Return a scheduler that comes from a checkpoint of a fit that began with epoch 0."""
    scheduler = CompressionScheduler(lambda position: None)
    done = epoch * STEPS + batch
    scheduler.load_state(
        {
            "current_epoch": epoch if batch else epoch - 1,
            "current_step": done - 1,
            "first_step": (epoch if batch else epoch - 1) * STEPS,
            "steps_per_epoch": STEPS,
        }
    )
    given = {"steps": STEPS, "entered": batch > 0, "seed": 7, "metrics": LOSS if batch else (), **values}
    scheduler.restore_fit(FitPosition(0, epoch, batch, **given))
    return scheduler


def warnings_of(scheduler, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(scheduler, **options)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("epoch", "batch", "epochs", "expected"),
    [(0, 2, 1, (1, 0)), (1, 0, 3, (3, 0)), (1, 3, 2, (2, 0)), (1, 4, 2, (2, 0)), (0, 4, 2, (2, 0))],
)
def test_a_resumed_fit_goes_through_what_is_left(epoch, batch, epochs, expected):
    scheduler = stopped(epoch, batch)
    assert warnings_of(scheduler, epochs=epochs) == []
    place = scheduler.fit_position
    assert (place.epoch, place.batch) == expected
    assert (scheduler.current_epoch, scheduler.current_step) == (epochs - 1, epochs * STEPS - 1)


def test_without_a_checkpoint_it_starts_at_the_beginning():
    scheduler = CompressionScheduler(lambda position: None)
    fit(scheduler, epochs=2)
    assert scheduler.current_step == 2 * STEPS - 1
    fit(scheduler, epochs=1)
    assert scheduler.current_step == 3 * STEPS - 1


def test_a_training_that_is_done_says_so():
    [message] = warnings_of(stopped(2, 0), epochs=2)
    assert message.startswith("fit has trained nothing: the epochs of the training that is resumed are done")


def test_an_empty_fit_says_so():
    [message] = warnings_of(stopped(2, 0), resume=False, epochs=2, initial_epoch=2)
    assert message.startswith("fit has trained nothing: no epoch is left")


@pytest.mark.parametrize("epochs", [2, 3])
def test_a_fit_that_leaves_out_the_rest_of_an_epoch_says_so(epochs):
    messages = warnings_of(stopped(1, 3), resume=False, epochs=epochs, initial_epoch=2)
    assert len(messages) == 1
    assert "leaves out the rest of epoch 1: the checkpoint was saved after 3 of 4 batches of it" in messages[0]
    assert messages[0].startswith("fit has trained nothing") == (epochs == 2)


@pytest.mark.parametrize(("epoch", "batch", "initial"), [(1, 3, 1), (1, 4, 2), (2, 0, 2)])
def test_an_epoch_that_is_whole_or_starts_again_leaves_nothing_out(epoch, batch, initial):
    assert warnings_of(stopped(epoch, batch), resume=False, epochs=3, initial_epoch=initial) == []


def test_another_initial_epoch_is_refused():
    with pytest.raises(ValueError, match=r"begun by fit\(initial_epoch=0\).*epoch 1, batch 3.*initial_epoch=1"):
        fit(stopped(1, 3), epochs=3, initial_epoch=1)


def test_another_seed_is_named():
    [message] = warnings_of(stopped(1, 0, seed=5), epochs=2)
    assert "global seed was 5, and is 7 now" in message


def test_a_checkpoint_without_a_place_goes_on_by_epochs_and_steps():
    scheduler = stopped(1, 3)
    scheduler.restore_fit(None)
    [message] = warnings_of(scheduler, epochs=2)
    assert "metrics of this epoch begin anew with its batch 3: the checkpoint holds none" in message
    assert (scheduler.current_epoch, scheduler.current_step) == (1, 2 * STEPS - 1)


def test_metrics_of_another_compilation_are_named():
    [message] = warnings_of(stopped(1, 3, metrics=[1.0, 2.0, 3.0]), epochs=2)
    assert "of a model that was compiled otherwise" in message


def test_the_training_function_is_back_in_its_place():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((8, 2), np.float32)
    model.fit(x, x[:, :1], verbose=0)
    before = model.train_function
    model.fit(x, x[:, :1], callbacks=[SchedulerCallback(stopped(0, 1, steps=1))], epochs=2, verbose=0)
    assert model.train_function is before


def test_the_position_after_restore_is_that_of_the_checkpoint():
    scheduler = stopped(1, 3)
    assert scheduler.fit_position == FitPosition(0, 1, 3, steps=4, entered=True, seed=7, metrics=LOSS)
