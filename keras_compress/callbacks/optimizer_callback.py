"""OptimizerCallback: gives the optimizer the learning rate and weight decay that the stages of compression ask for."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_compress._keras import innermost_optimizer, keras, learning_rate_schedule, register, retrace
from keras_compress.algorithms import OptimizerGuide
from keras_compress.controller import CompressionController

__all__ = ["OptimizerCallback", "OverridableSchedule"]


@register
class OverridableSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning-rate schedule that a number can take the place of.

    Args:
        schedule: the schedule in force while nothing overrides it.
        override: the learning rate instead, below 0 (default) for none.
    """

    def __init__(self, schedule: Any, override: float = -1.0):
        super().__init__()
        self.schedule = schedule
        self.override = tf.Variable(override, trainable=False, dtype=tf.float32, name="learning_rate_override")

    def __call__(self, step):
        scheduled = tf.cast(self.schedule(step), tf.float32)
        return tf.where(self.override < 0.0, scheduled, self.override)

    def get_config(self) -> dict:
        inner = keras.optimizers.schedules.serialize(self.schedule)
        return {"schedule": inner, "override": float(self.override.numpy())}

    @classmethod
    def from_config(cls, config: dict) -> OverridableSchedule:
        return cls(keras.optimizers.schedules.deserialize(config["schedule"]), config["override"])


class OptimizerCallback(keras.callbacks.Callback):
    """Sets, before each epoch, the learning rate and the weight decay that algorithms ask for.

    Works with a constant learning rate and with schedules. Weight decay is set where the optimizer has a decoupled one,
    as ``AdamW``; that takes one new tracing of the training step.

    Args:
        controller: from ``create_compressed_model``.
    """

    def __init__(self, controller: CompressionController):
        super().__init__()
        self._controller = controller

    def on_epoch_begin(self, epoch, logs=None):
        epoch = self._controller.scheduler.current_epoch
        self._set_learning_rate(epoch)
        self._set_weight_decay(epoch)

    def _set_learning_rate(self, epoch: int) -> None:
        wanted = self._first("learning_rate", epoch)
        if wanted is None:
            return
        optimizer = innermost_optimizer(self.model.optimizer)
        schedule = learning_rate_schedule(optimizer)
        if schedule is None:
            optimizer.learning_rate = wanted
            return
        if not isinstance(schedule, OverridableSchedule):
            schedule = OverridableSchedule(schedule)
            optimizer.learning_rate = schedule
            retrace(self.model)
        schedule.override.assign(wanted)

    def _set_weight_decay(self, epoch: int) -> None:
        optimizer = innermost_optimizer(self.model.optimizer)
        wanted = self._first("weight_decay", epoch)
        if wanted is None or getattr(optimizer, "weight_decay", None) in (None, wanted):
            return
        optimizer.weight_decay = wanted
        retrace(self.model)

    def _first(self, what: str, epoch: int) -> float | None:
        guides = (a for a in self._controller.config.compression if isinstance(a, OptimizerGuide))
        answers = (getattr(guide, what)(epoch) for guide in guides)
        return next((answer for answer in answers if answer is not None), None)
