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


class Diverging(keras.callbacks.Callback):
    """Makes a weight NaN at the end of an epoch, and finite again at the end of another."""

    def __init__(self, epoch, recovered):
        super().__init__()
        self._values = {epoch: np.nan, recovered: 1.0}

    def on_epoch_end(self, epoch, logs=None):
        if epoch in self._values:
            self.model.set_weights([np.array([[0.0], [self._values[epoch]]]), np.zeros(1)])


def test_a_model_that_became_nan_does_not_push_out_the_good_checkpoints(model, tmp_path):
    callback = CheckpointManagerCallback(tf.train.Checkpoint(model=model), tmp_path, max_to_keep=2)
    x = np.ones((8, 2), np.float32)
    with pytest.warns(UserWarning, match=r"weight 'kernel' of the layer 'dense.*ckpt-2.*kc\.restore") as warned:
        model.fit(x, x[:, :1], epochs=6, callbacks=[Diverging(2, recovered=5), callback], verbose=0)
    assert len([one for one in warned if "No checkpoint is saved" in str(one.message)]) == 1
    assert numbers(tmp_path) == [2, 3]
    assert all(np.isfinite(array).all() for array in model.get_weights())


def test_a_weight_that_was_nan_before_does_not_keep_checkpoints_away(model, tmp_path):
    model.layers[0].bias.assign([np.nan])
    callback = CheckpointManagerCallback(tf.train.Checkpoint(model=model), tmp_path)
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    fit(model, callback, epochs=2)
    assert numbers(tmp_path) == [1, 2]
