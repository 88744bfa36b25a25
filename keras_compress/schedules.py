"""Schedules: how a level rises over the epochs. A schedule is a value; ``schedule.level(epoch)`` is a pure function.

A level is a share in [0, 1). Epochs count from 0 and may have a fraction: 2.5 is the middle of the third epoch. Every
schedule keeps its last level for ever. The names and keys of schedules in a configuration are in
:mod:`keras_compress.algorithms.sparsity`.

Example:
    >>> schedule = PolynomialSchedule(initial=0.0, final=0.8, final_epoch=10, power=3)
    >>> [round(schedule.level(epoch), 6) for epoch in (0, 5, 10, 100)]
    [0.0, 0.7, 0.8, 0.8]
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

__all__ = ["AdaptiveSchedule", "ExponentialSchedule", "MultistepSchedule", "PolynomialSchedule", "Schedule"]


class Schedule(ABC):
    """Base of the schedules.

    Attributes:
        initial: the level at epoch 0.
        final: the level it ends at.
        final_epoch: the epoch from whose start on the level is final; None where training decides it.
        follows_steps: whether the level may be raised before every optimizer step, and not only between epochs.
    """

    follows_steps: ClassVar[bool] = True
    initial: float
    final: float
    final_epoch: float | None

    @abstractmethod
    def level(self, epoch: float) -> float:
        """Return the level at a position in epochs, 0 or more."""

    def next_level(self, epoch: float, level: float, reached: float, epochs_met: int) -> tuple[float, int]:
        """Return the level at ``epoch`` and the number of epochs that have met it, from what training has reached.

        Default: :meth:`level`, whatever was reached.

        Args:
            epoch: the position.
            level: the present level.
            reached: the share that is really removed by now.
            epochs_met: how many epochs have met the present level.
        """
        return self.level(epoch), epochs_met


@dataclass(frozen=True)
class PolynomialSchedule(Schedule):
    """A polynomial of the epoch.

    With ``p = epoch / final_epoch``, at most 1: ``final - (final - initial) * (1 - p)**power`` if concave, else
    ``initial + (final - initial) * p**power``.

    Attributes:
        initial, final: level at epoch 0 and from ``final_epoch`` on.
        final_epoch: where the final level is reached; 0 for at once.
        power: the exponent, above 0. Default 0.9.
        concave: start fast and end slowly if ``power`` is above 1, the reverse below. Default True.

    Example:
        >>> round(PolynomialSchedule(0.0, 0.8, 10, power=3).level(5), 6)
        0.7

    Source: Zhu and Gupta 2017, arXiv:1710.01878.
    """

    initial: float
    final: float
    final_epoch: float
    power: float = 0.9
    concave: bool = True

    def level(self, epoch: float) -> float:
        progress = _progress(epoch, self.final_epoch)
        if self.concave:
            return self.final - (self.final - self.initial) * (1.0 - progress) ** self.power
        return self.initial + (self.final - self.initial) * progress**self.power


@dataclass(frozen=True)
class ExponentialSchedule(Schedule):
    """The share that is kept falls by the same factor in every epoch.

    ``1 - (1 - initial) * ((1 - final) / (1 - initial))**p`` with ``p = epoch / final_epoch``, at most 1.

    Example:
        >>> round(ExponentialSchedule(0.0, 0.75, 2).level(1), 6)
        0.5
    """

    initial: float
    final: float
    final_epoch: float

    def level(self, epoch: float) -> float:
        factor = (1.0 - self.final) / (1.0 - self.initial)
        return 1.0 - (1.0 - self.initial) * factor ** _progress(epoch, self.final_epoch)


@dataclass(frozen=True)
class MultistepSchedule(Schedule):
    """``levels[i]``, where ``i`` is the number of ``steps`` that the epoch has reached.

    Attributes:
        steps: rising epochs.
        levels: the levels before, between and after them: one more than there are steps.

    Example:
        >>> [MultistepSchedule([2, 4], [0.1, 0.3, 0.5]).level(epoch) for epoch in (0, 2, 3, 4)]
        [0.1, 0.3, 0.3, 0.5]
    """

    follows_steps: ClassVar[bool] = False
    steps: Sequence[float]
    levels: Sequence[float]

    @property
    def initial(self) -> float:  # type: ignore[override]
        return self.levels[0]

    @property
    def final(self) -> float:  # type: ignore[override]
        return self.levels[-1]

    @property
    def final_epoch(self) -> float:  # type: ignore[override]
        return self.steps[-1] if self.steps else 0

    def level(self, epoch: float) -> float:
        return self.levels[bisect_right(self.steps, epoch)]


@dataclass(frozen=True)
class AdaptiveSchedule(Schedule):
    """Raised by 0.05 whenever training has met the level in ``patience`` epochs.

    An epoch meets its level if what was reached lies at most 0.03 below it. :meth:`level` is what the level is if every
    epoch meets it.

    Example:
        >>> AdaptiveSchedule(0.0, 0.5, patience=2).next_level(5, level=0.3, reached=0.29, epochs_met=1)
        (0.35, 0)
    """

    follows_steps: ClassVar[bool] = False
    #: By how much a level is raised, and by how much it may be missed and still count as met.
    step: ClassVar[float] = 0.05
    tolerance: ClassVar[float] = 0.03
    initial: float
    final: float
    patience: int = 1

    @property
    def final_epoch(self) -> None:  # type: ignore[override]
        return None

    def level(self, epoch: float) -> float:
        return min(self.initial + self.step * (max(int(epoch), 0) // self.patience), self.final)

    def next_level(self, epoch: float, level: float, reached: float, epochs_met: int) -> tuple[float, int]:
        if epoch < 1:
            return level, epochs_met
        epochs_met += reached >= level - self.tolerance
        if epochs_met < self.patience:
            return level, epochs_met
        return min(level + self.step, self.final), 0


def _progress(epoch: float, final_epoch: float) -> float:
    """Return how far the ramp has come, in [0, 1]."""
    epoch = max(epoch, 0.0)
    return 1.0 if epoch >= final_epoch else epoch / final_epoch
