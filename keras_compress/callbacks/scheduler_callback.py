"""SchedulerCallback: steps the compression scheduler with the epochs and batches of ``fit``."""

from __future__ import annotations

import warnings

from keras_compress._keras import keras
from keras_compress.callbacks.fit_follower import FitFollower
from keras_compress.scheduler import CompressionScheduler

__all__ = ["SchedulerCallback"]


class SchedulerCallback(keras.callbacks.Callback):
    """Calls ``scheduler.epoch_step()`` before each epoch and ``scheduler.step()`` before each batch.

    A second ``fit`` goes on where the first one ended. If ``fit`` starts at a later epoch than the scheduler's next one
    (``initial_epoch``), the scheduler follows it; if it starts at an epoch that was interrupted, the scheduler starts
    that epoch again. Tells the scheduler how many steps an epoch has, and warns if ``fit``
    ends before compression is complete, leaves out a part of an interrupted epoch, or trains nothing.

    Args:
        scheduler: of the controller.
        resume: after ``kc.restore``, go on at the very batch where the checkpoint was saved. ``fit`` takes the arguments it
            was called with before; its data are read up to the place, and its metrics get the values they had. Without a
            restored checkpoint ``fit`` starts at the beginning. Default False: ``fit`` starts a new round of epochs.
    """

    def __init__(self, scheduler: CompressionScheduler, *, resume: bool = False):
        super().__init__()
        self._scheduler = scheduler
        self._fit = FitFollower(scheduler, resume)
        self._batch = 0
        self._first_epoch = True

    def on_train_begin(self, logs=None):
        self._first_epoch = True
        steps = self.params.get("steps")
        if steps is not None:
            self._scheduler.steps_per_epoch = steps
        self._fit.begin(self.model, steps)

    def on_epoch_begin(self, epoch, logs=None):
        scheduler = self._scheduler
        if not self._fit.knows(epoch):
            again = epoch == scheduler.current_epoch and scheduler.inside_epoch
            scheduler.epoch_step(epoch if again else max(epoch, scheduler.current_epoch + 1))
        self._fit.entered()
        if self._first_epoch and self.params.get("epochs") is not None:
            self._warn_if_too_short(scheduler.current_epoch + self.params["epochs"] - epoch - 1)
        self._first_epoch = False

    def _warn_if_too_short(self, last_epoch: int) -> None:
        final_epoch = self._scheduler.final_epoch
        if final_epoch is not None and final_epoch > last_epoch:
            warnings.warn(
                f"Compression is complete at the start of epoch {final_epoch} (counted from 0), and this fit ends with epoch "
                f"{last_epoch}. Lower 'sparsity_target_epoch' (or the epochs of the schedule in use), or train longer.",
                stacklevel=2,
            )

    def on_train_batch_begin(self, batch, logs=None):
        self._batch = batch
        self._fit.begin_batch(batch)
        self._scheduler.step(self._scheduler.first_step + batch)

    def on_train_batch_end(self, batch, logs=None):
        for _ in range(batch - self._batch):  # steps_per_execution: several steps in one call
            self._scheduler.step()
        self._fit.end_batch(batch)

    def on_epoch_end(self, epoch, logs=None):
        self._fit.end_epoch(logs)

    def on_train_end(self, logs=None):
        self._fit.end(self.params.get("epochs"))
