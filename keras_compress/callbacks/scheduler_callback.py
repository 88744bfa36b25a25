"""SchedulerCallback: steps the compression scheduler with the epochs and batches of ``fit``."""

from __future__ import annotations

from keras_compress._keras import keras
from keras_compress.scheduler import CompressionScheduler

__all__ = ["SchedulerCallback"]


class SchedulerCallback(keras.callbacks.Callback):
    """Calls ``scheduler.epoch_step()`` before each epoch and ``scheduler.step()`` before each batch.

    A second ``fit`` goes on where the first one ended. If ``fit`` starts at a later epoch than the scheduler's next one
    (``initial_epoch``), the scheduler follows it.
    """

    def __init__(self, scheduler: CompressionScheduler):
        super().__init__()
        self._scheduler = scheduler
        self._batch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._scheduler.epoch_step(max(epoch, self._scheduler.current_epoch + 1))

    def on_train_batch_begin(self, batch, logs=None):
        self._batch = batch
        self._scheduler.step()

    def on_train_batch_end(self, batch, logs=None):
        for _ in range(batch - self._batch):  # steps_per_execution: several steps in one call
            self._scheduler.step()
