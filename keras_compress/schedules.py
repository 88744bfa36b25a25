"""Schedules: how a level rises over the epochs. Pure functions of the position, without state.

A level is a share in [0, 1). Epochs count from 0 and may have a fraction: 2.5 is the middle of the third epoch. Each
function holds its last value for ever.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

__all__ = ["ADAPTIVE_STEP", "adaptive_level", "exponential_level", "multistep_level", "polynomial_level"]

#: By how much the adaptive schedule raises a level, and by how much a level may be missed and still count as met.
ADAPTIVE_STEP, ADAPTIVE_TOLERANCE = 0.05, 0.03


def polynomial_level(
    epoch: float, initial: float, target: float, target_epoch: float, power: float = 0.9, *, concave: bool = True
) -> float:
    """Return the level of a polynomial schedule.

    With ``p = epoch / target_epoch``, at most 1: ``target - (target - initial) * (1 - p)**power`` if concave, else
    ``initial + (target - initial) * p**power``.

    Args:
        epoch: the position, 0 or more.
        initial, target: level at epoch 0 and from ``target_epoch`` on.
        target_epoch: where the target is reached; 0 for at once.
        power: the exponent, above 0. Default 0.9.
        concave: start fast and end slowly if ``power`` is above 1, the reverse below. Default True.

    Example:
        >>> round(polynomial_level(5, 0.0, 0.8, 10, power=3), 6)
        0.7

    Source: Zhu and Gupta 2017, arXiv:1710.01878.
    """
    progress = _progress(epoch, target_epoch)
    if concave:
        return target - (target - initial) * (1.0 - progress) ** power
    return initial + (target - initial) * progress**power


def exponential_level(epoch: float, initial: float, target: float, target_epoch: float) -> float:
    """Return the level at which the kept share falls by the same factor in every epoch.

    ``1 - (1 - initial) * ((1 - target) / (1 - initial))**p`` with ``p = epoch / target_epoch``, at most 1.

    Example:
        >>> round(exponential_level(1, 0.0, 0.75, 2), 6)
        0.5
    """
    return 1.0 - (1.0 - initial) * ((1.0 - target) / (1.0 - initial)) ** _progress(epoch, target_epoch)


def multistep_level(epoch: float, steps: Sequence[float], levels: Sequence[float]) -> float:
    """Return ``levels[i]``, where ``i`` is the number of ``steps`` that ``epoch`` has reached.

    Example:
        >>> [multistep_level(epoch, [2, 4], [0.1, 0.3, 0.5]) for epoch in (0, 2, 3, 4)]
        [0.1, 0.3, 0.3, 0.5]
    """
    return levels[bisect_right(steps, epoch)]


def adaptive_level(level: float, reached: float, epochs_met: int, patience: int, target: float) -> tuple[float, int]:
    """Return the next level and the number of epochs for which the present one has been met.

    An epoch meets its level if what was ``reached`` lies at most 0.03 below it. After ``patience`` such epochs the level
    rises by 0.05, up to ``target``, and counting starts again.

    Example:
        >>> adaptive_level(0.3, reached=0.29, epochs_met=1, patience=2, target=0.5)
        (0.35, 0)
    """
    epochs_met += reached >= level - ADAPTIVE_TOLERANCE
    if epochs_met < patience:
        return level, epochs_met
    return min(level + ADAPTIVE_STEP, target), 0


def _progress(epoch: float, target_epoch: float) -> float:
    """Return how far the ramp has come, in [0, 1]."""
    epoch = max(epoch, 0.0)
    return 1.0 if epoch >= target_epoch else epoch / target_epoch
