"""A warning of a training that leaves the schedule of the compression where it is, because nothing steps the scheduler."""

from __future__ import annotations

import warnings
from typing import Any

from keras_compress._keras_training import watch_training

__all__ = ["watch_schedule"]


class _Watch:
    """Sees how far the schedule is when a training begins, and when it trains its first batch."""

    def __init__(self, controller: Any):
        self._controller = controller
        self._moves = 0
        self._warned = False

    def begins(self) -> None:
        self._moves = self._controller.scheduler.moves

    def trains(self) -> None:
        scheduler = self._controller.scheduler
        still = scheduler.moves == self._moves and not (scheduler.is_complete or scheduler.moved_by_hand)
        if not still or self._controller.level_by_hand or self._warned:
            return
        self._warned = True
        warnings.warn(
            "This training does not move the schedule of the compression, which stays at "
            f"{'its start' if scheduler.current_epoch < 0 else f'epoch {scheduler.current_epoch}'} whatever is trained. Pass "
            "kc.create_compression_callbacks(controller) to 'fit', or call controller.scheduler.epoch_step() before each "
            "epoch of a loop of your own.",
            stacklevel=5,
        )


def watch_schedule(controller: Any) -> None:
    """Warn once where ``fit`` trains its first batch, its callbacks have heard of it, and the schedules have not moved.

    Args:
        controller: the :class:`~keras_compress.controller.CompressionController` of the model that is trained. One without a schedule
            is not watched.
    """
    if controller.scheduler.final_epoch != -1:
        watch = _Watch(controller)
        watch_training(controller.model, watch.begins, watch.trains)
