"""LeadIn: brings a ``fit`` that is resumed to the numbers it stopped at, before its first step.

It stands in for the training function of a model until the epoch it starts in is over. It reads the data up to the position
and gives the metrics the values they had; then it trains as Keras does. Where ``fit`` starts from the beginning, it only
takes note of the data.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress._keras_training import (
    fresh_iterator,
    is_restarted,
    keeps_first_reading,
    metric_logs,
    metric_variables,
)
from keras_compress.fit_position import FitPosition

__all__ = ["LeadIn"]

_END = (StopIteration, tf.errors.OutOfRangeError)


class LeadIn:
    """What ``fit`` calls in place of the training function.

    Args:
        model: the model in ``fit``; its training function is there.
        start: the position to go on from; None to start from the beginning.
        steps: batches of an epoch, as ``fit`` knows them at its start.
        again: the first batch has been trained already: it gives its logs and changes nothing.

    Attributes:
        data: the iterator that ``fit`` reads; None before the first batch.
    """

    def __init__(self, model: keras.Model, start: FitPosition | None, steps: int | None, *, again: bool = False):
        self._model = model
        self._function = model.train_function
        self._start = start
        self._steps = steps
        self._again = again
        self._iterator: Any = None
        self._trained = 0 if start is None else start.batch
        self._limit = start.steps if start is not None and steps is None else None
        self._may_restart = False
        self._active = True
        self.data: Any = None
        model.train_function = self

    def stay(self) -> None:
        """Take the place of the training function again after it was traced once more."""
        if self._active and self._model.train_function is not self:
            self._function = self._model.train_function
            self._model.train_function = self

    def leave(self) -> None:
        """Give its place back to the training function."""
        self._active = False
        if self._model.train_function is self:
            self._model.train_function = self._function

    def __call__(self, iterator: Any) -> Any:
        first = self.data is None
        if first:
            self.data = iterator
        if self._start is None or (not first and iterator is not self.data):
            self.leave()
            return self._function(iterator)
        if first:
            self._iterator = self._read_up_to(self._start, iterator)
            self._set_metrics(self._start)
            if self._again:
                return metric_logs(self._model)
        if self._limit is not None and self._trained >= self._limit:
            raise StopIteration  # as in an epoch whose length is known; a step without data would count
        self._trained += 1
        try:
            return self._function(self._iterator)
        except _END:
            if not self._may_restart:
                raise
            self._iterator = fresh_iterator(iterator)
            return self._function(self._iterator)
        finally:
            self._may_restart = False

    def _read_up_to(self, start: FitPosition, iterator: Any) -> Any:
        """Return an iterator whose next batch is the one that the interrupted training would have read next."""
        epochs = start.epoch - start.first_epoch
        if is_restarted(iterator, self._steps):
            return self._restarted(iterator, epochs, start.batch)
        before = epochs * (self._steps or 0) + start.batch
        try:
            _skip(iterator, before)
        except _END:  # data that a Sequence of Keras makes: they start again in each epoch
            return self._restarted(iterator, epochs, start.batch)
        self._may_restart = start.batch == 0 and epochs > 0
        return iterator

    @staticmethod
    def _restarted(iterator: Any, epochs: int, batches: int) -> Any:
        if epochs and keeps_first_reading(iterator):
            _read_whole(iterator)  # what is cached is what the first epoch has read, in its order
        for _ in range(epochs):  # what is shuffled gets another order with each iterator
            iterator = fresh_iterator(iterator)
        _skip(iterator, batches)
        return iterator

    def _set_metrics(self, start: FitPosition) -> None:
        """Give the metrics the values they had within the epoch; Keras makes them when the step is traced."""
        if not start.batch:
            return
        function = self._function
        if not hasattr(function, "get_concrete_function"):
            function = tf.function(getattr(function, "function", function))  # of a step that runs eagerly
        function.get_concrete_function(self._iterator)
        variables = metric_variables(self._model)
        values = _arrays(start.metrics)
        if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
            reason = "those of a model that was compiled otherwise" if values else "none"
            warnings.warn(
                f"The metrics of this epoch begin anew with its batch {start.batch}: the checkpoint holds {reason}. Expected: "
                f"values for {[variable.name for variable in variables]}. Compile as before where callbacks look at metrics.",
                stacklevel=2,
            )
            return
        for variable, value in zip(variables, values, strict=True):
            variable.assign(tf.cast(value, variable.dtype))


def _arrays(values: Sequence[Any]) -> list[np.ndarray]:
    """Return the values as arrays of numbers; none where they are something else."""
    try:
        arrays = [np.asarray(value) for value in values]
    except (TypeError, ValueError):
        return []
    return arrays if all(array.dtype.kind in "bif" for array in arrays) else []


def _read_whole(iterator: Any) -> None:
    for _ in iterator:
        pass


def _skip(iterator: Any, batches: int) -> None:
    for _ in range(batches):
        next(iterator)
