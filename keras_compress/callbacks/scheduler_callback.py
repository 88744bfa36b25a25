"""SchedulerCallback: steps the compression scheduler with the epochs and batches of ``fit``."""

from __future__ import annotations

import warnings

from keras_compress._keras import keras
from keras_compress.scheduler import CompressionScheduler

__all__ = ["SchedulerCallback"]


class SchedulerCallback(keras.callbacks.Callback):
    """Calls ``scheduler.epoch_step()`` before each epoch and ``scheduler.step()`` before each batch.

    A second ``fit`` goes on where the first one ended. If ``fit`` starts at a later epoch than the scheduler's next one
    (``initial_epoch``), the scheduler follows it; if it starts at an epoch that was interrupted, the scheduler starts that
    epoch again. Tells the scheduler how many steps an epoch has, and warns if ``fit``
    ends before compression is complete.
    """

    def __init__(self, scheduler: CompressionScheduler):
        super().__init__()
        self._scheduler = scheduler
        self._batch = 0

    def on_train_begin(self, logs=None):
        steps, epochs = self.params.get("steps"), self.params.get("epochs")
        if steps is not None:
            self._scheduler.steps_per_epoch = steps
        final_epoch = self._scheduler.final_epoch
        if epochs is not None and final_epoch is not None and final_epoch > self._scheduler.current_epoch + epochs:
            warnings.warn(
                f"Compression is complete at the start of epoch {final_epoch} (counted from 0), and this fit ends before "
                f"that, with {epochs} epochs. Lower 'sparsity_target_epoch' (or the epochs of the schedule in use), or train longer.",
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch, logs=None):
        scheduler = self._scheduler
        again = epoch == scheduler.current_epoch and scheduler.inside_epoch
        scheduler.epoch_step(epoch if again else max(epoch, scheduler.current_epoch + 1))

    def on_train_batch_begin(self, batch, logs=None):
        self._batch = batch
        self._scheduler.step(self._scheduler.first_step + batch)

    def on_train_batch_end(self, batch, logs=None):
        for _ in range(batch - self._batch):  # steps_per_execution: several steps in one call
            self._scheduler.step()
