"""CheckpointManagerCallback: saves a ``tf.train.Checkpoint`` during ``fit``."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from keras_compress._keras import keras

__all__ = ["CheckpointManagerCallback"]


class CheckpointManagerCallback(keras.callbacks.Callback):
    """Saves ``checkpoint`` into ``directory`` after every epoch, or after every so many batches.

    Args:
        checkpoint: usually ``tf.train.Checkpoint(model=model, compression_state=TFCompressionState(controller))``.
        directory: made if missing.
        save_freq: ``"epoch"`` (default), or a number of batches.
        max_to_keep: how many of the newest checkpoints stay; None (default) keeps all.
    """

    def __init__(
        self,
        checkpoint: tf.train.Checkpoint,
        directory: str | Path,
        save_freq: str | int = "epoch",
        max_to_keep: int | None = None,
    ):
        super().__init__()
        if save_freq != "epoch" and (type(save_freq) is not int or save_freq < 1):
            raise ValueError(
                f"save_freq takes 'epoch' or a number of batches above 0. Received: save_freq={save_freq!r}."
            )
        self._every_batches = save_freq if isinstance(save_freq, int) else None
        self._batches = 0
        self._first_batch = 0
        self._manager = tf.train.CheckpointManager(checkpoint, str(directory), max_to_keep=max_to_keep)

    @property
    def latest_checkpoint(self) -> str | None:
        """Path of the newest checkpoint, for ``checkpoint.restore``; None before the first."""
        return self._manager.latest_checkpoint

    def on_train_batch_begin(self, batch, logs=None):
        self._first_batch = batch

    def on_train_batch_end(self, batch, logs=None):
        before = self._batches
        self._batches += batch - self._first_batch + 1  # more than one with steps_per_execution
        if self._every_batches is not None and self._batches // self._every_batches > before // self._every_batches:
            self._manager.save()

    def on_epoch_end(self, epoch, logs=None):
        if self._every_batches is None:
            self._manager.save()
