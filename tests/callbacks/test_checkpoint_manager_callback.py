"""Checkpoints are written when they should be, the oldest are removed, and the newest can be restored."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import CheckpointManagerCallback
from keras_compress._keras import keras


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def fit(model, callback, epochs, batches=2):
    x = np.ones((4 * batches, 2), np.float32)
    model.fit(x, x[:, :1], batch_size=4, epochs=epochs, callbacks=[callback], verbose=0)


def numbers(folder):
    return sorted(int(path.stem.split("-")[1]) for path in folder.glob("ckpt-*.index"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"max_to_keep": 2}, [2, 3]),
        ({"max_to_keep": 1}, [3]),
        ({"save_freq": 1}, [1, 2, 3, 4, 5, 6]),
        ({"save_freq": 4}, [1]),
        ({"save_freq": 2, "max_to_keep": 2}, [2, 3]),
        ({"save_freq": 100}, []),
    ],
)
def test_checkpoints_after_three_epochs_of_two_batches(model, tmp_path, options, expected):
    callback = CheckpointManagerCallback(tf.train.Checkpoint(model=model), tmp_path / "new", **options)
    fit(model, callback, epochs=3)
    assert numbers(tmp_path / "new") == expected
    assert (callback.latest_checkpoint is None) == (not expected)


def test_batches_are_counted_over_several_fits(model, tmp_path):
    callback = CheckpointManagerCallback(tf.train.Checkpoint(model=model), tmp_path, save_freq=3)
    for _ in range(3):
        fit(model, callback, epochs=1)
    assert numbers(tmp_path) == [1, 2]


def test_the_newest_checkpoint_holds_the_last_weights(model, tmp_path):
    checkpoint = tf.train.Checkpoint(model=model)
    callback = CheckpointManagerCallback(checkpoint, str(tmp_path))
    fit(model, callback, epochs=2)
    expected = model.get_weights()
    model.set_weights([np.zeros_like(array) for array in expected])
    checkpoint.restore(callback.latest_checkpoint)
    for array, before in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("save_freq", ["batch", 0, -1, 1.5, None, True])
def test_a_wrong_frequency_is_an_error(model, tmp_path, save_freq):
    with pytest.raises(ValueError, match=rf"save_freq takes 'epoch'.*save_freq={save_freq!r}"):
        CheckpointManagerCallback(tf.train.Checkpoint(model=model), tmp_path, save_freq=save_freq)
