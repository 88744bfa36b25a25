"""FitFollower: knows at every moment where a ``fit`` stands, and lets one that was interrupted go on there.

It counts what has been trained, not what callbacks were told: a checkpoint saved anywhere holds the place of its numbers.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from keras_compress._keras import keras
from keras_compress._keras_training import (
    global_seed,
    learning_rate_variable,
    metric_variables,
    optimizer_name,
    start_fit_at,
    trained_batches,
)
from keras_compress.callbacks.lead_in import LeadIn
from keras_compress.distribution import number_of_workers
from keras_compress.fit_position import FitPosition
from keras_compress.scheduler import CompressionScheduler

__all__ = ["FitFollower"]


class FitFollower:
    """Follows one call of ``fit`` after another; :class:`SchedulerCallback` tells it what happens.

    Args:
        scheduler: where checkpoints find the place.
        resume: go on where the ``fit`` stood that a restored checkpoint comes from.
    """

    def __init__(self, scheduler: CompressionScheduler, resume: bool):
        self._scheduler = scheduler
        self._resume = resume

    @property
    def data(self) -> Any:
        """The iterator that ``fit`` reads; None before its first batch."""
        return self._lead.data

    @property
    def steps(self) -> int | None:
        """Batches of an epoch; None while that is not known."""
        return self._steps

    def begin(self, model: keras.Model, steps: int | None) -> None:
        """A ``fit`` begins."""
        scheduler = self._scheduler
        restored = scheduler.take_restored_fit()
        self._model = model
        self._start = restored if self._resume else None
        self._left = restored if not self._resume and restored is not None and restored.batch else None
        self._steps = steps if steps is not None or self._start is None else self._start.steps
        self._seed = global_seed()
        self._first_epoch: int | None = None
        self._ended, self._logs = False, dict[str, Any]()
        again = self._start is not None and self._end_is_to_come(self._start, steps)
        self._lead = LeadIn(model, self._start, steps, again=again)
        rate = learning_rate_variable(model) if self._start is not None and self._start.batch else None
        self._rate = None if rate is None else (rate, rate.numpy())
        scheduler.place, scheduler.repeating = self, again
        scheduler.fit_runs(True)
        if self._start is not None:
            start_fit_at(model, self._where)
            self._compare_seeds(self._start)

    def _end_is_to_come(self, start: FitPosition, steps: int | None) -> bool:
        """Whether the last batch that was trained may be the last one of its epoch, whose end is still to come."""
        known = start.steps if steps is None else steps
        return start.batch > 0 and (known is None or start.batch >= known)

    def _where(self, initial_epoch: int) -> tuple[int, int]:
        """Return epoch and batch to start at; raise an error if ``fit`` is another call than the interrupted one."""
        start = self._start
        if start is None:
            return initial_epoch, 0
        if initial_epoch != start.first_epoch:
            raise ValueError(
                f"The training that is resumed was begun by fit(initial_epoch={start.first_epoch}). Expected: the same "
                f"arguments again, since the callbacks find the place: epoch {start.epoch}, batch {start.batch}. Received: "
                f"initial_epoch={initial_epoch}. Leave initial_epoch as it was, or resume=True out."
            )
        return start.epoch, start.batch - self._scheduler.repeating

    def _compare_seeds(self, start: FitPosition) -> None:
        if start.seed is not None and start.seed != self._seed:
            warnings.warn(
                f"The order of shuffled data is not that of the training that is resumed: TensorFlow's global seed was "
                f"{start.seed}, and is {self._seed} now. Call keras.utils.set_random_seed with the same number before the "
                "data and the model are made, in every process.",
                stacklevel=4,
            )

    def knows(self, epoch: int) -> bool:
        """An epoch begins; return whether the schedules have been moved to it before the checkpoint was saved."""
        first = self._first_epoch is None
        if first:
            self._first_epoch = epoch if self._start is None else self._start.first_epoch
            self._warn_of_what_is_left_out(epoch)
        self._epoch, self._ended, self._logs = epoch, False, {}
        start = self._start if first else None
        self._base = None if start is None else start.batch
        self._told = self._base or 0
        self._counted = trained_batches(self._model)
        self._entered = start is not None and (start.entered or start.batch > 0)
        return self._entered

    def entered(self) -> None:
        """The schedules have been moved to the epoch."""
        self._entered = True

    def begin_batch(self, batch: int) -> None:
        """A batch begins."""
        self._lead.stay()
        if self._rate is not None:  # an epoch that has begun before has changed it then, and not once more
            rate, value = self._rate
            rate.assign(value)
            self._rate = None
        if self._base is None:
            self._base = self._told = batch
        if batch >= self._told:
            self._scheduler.repeating = False

    def end_batch(self, batch: int) -> None:
        """A batch has been trained, the last one of several with ``steps_per_execution``."""
        self._told = max(self._told, batch + 1)

    def end_epoch(self, logs: dict | None) -> None:
        """An epoch ends."""
        self._steps = self._steps or self._trained()
        self._ended, self._logs = True, {} if logs is None else logs
        self._scheduler.repeating = False

    def end(self, epochs: int | None) -> None:
        """The ``fit`` ends."""
        self._scheduler.fit_runs(False)
        self._lead.leave()
        if self._first_epoch is None:
            self._warn_of_an_empty_fit(epochs)

    def position(self) -> FitPosition | None:
        """Return where the ``fit`` stands; None before its first epoch."""
        if self._first_epoch is None:
            return self._start
        place = FitPosition(
            self._first_epoch, self._epoch, steps=self._steps, seed=self._seed, optimizer=optimizer_name(self._model)
        )
        if self._ended:
            logs = {key: float(value) for key, value in self._logs.items() if np.ndim(value) == 0}
            return replace(place, epoch=self._epoch + 1, logs=logs)
        batch = self._trained()
        return replace(place, batch=batch, entered=self._entered, metrics=self._metrics() if batch else ())

    def _trained(self) -> int:
        """Return how many batches of the epoch have been trained."""
        return max((self._base or 0) + trained_batches(self._model) - self._counted, self._told)

    def _metrics(self) -> list[Any]:
        """Return the values of the metrics' variables; none with several workers, which would have to ask each other."""
        if number_of_workers(self._model.distribute_strategy) > 1:
            return []
        return [variable.numpy().tolist() for variable in metric_variables(self._model)]

    def _warn_of_what_is_left_out(self, epoch: int) -> None:
        left = self._left
        if left is None or left.whole_epoch or epoch == left.epoch:
            return
        warnings.warn(f"This fit leaves out {_rest(left)}", stacklevel=4)

    def _warn_of_an_empty_fit(self, epochs: int | None) -> None:
        rest = f" It leaves out {_rest(self._left)}" if self._left is not None and not self._left.whole_epoch else ""
        done = "the epochs of the training that is resumed are done" if self._start is not None else "no epoch is left"
        warnings.warn(
            f"fit has trained nothing: {done}. Expected: an initial_epoch below epochs. Received: epochs={epochs}. Pass more "
            f"epochs to train on.{rest}",
            stacklevel=4,
        )


def _rest(left: FitPosition) -> str:
    size = "" if left.steps is None else f" of {left.steps}"
    return (
        f"the rest of epoch {left.epoch}: the checkpoint was saved after {left.batch}{size} batches of it. Pass "
        "kc.create_compression_callbacks(controller, resume=True) to fit, and the arguments of the interrupted fit."
    )
