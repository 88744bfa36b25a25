"""What accuracy is asked for, and how much may be spent on finding it."""

from __future__ import annotations

import enum
import math
import time

__all__ = ["Budget", "DropType", "Target"]


class DropType(str, enum.Enum):
    """How a drop is counted: as the difference of metrics, or as its share of the metric of the original model."""

    ABSOLUTE = "absolute"
    RELATIVE = "relative"


class Target:
    """What accuracy is asked for.

    Args:
        max_drop: the greatest drop allowed, in units of the metric or as a share of it.
        drop_type: which of the two.
        higher_is_better: whether a higher metric is a better one.
    """

    def __init__(self, max_drop: float, drop_type: DropType, higher_is_better: bool):
        self.max_drop = max_drop
        self._relative = drop_type is DropType.RELATIVE
        self._sign = 1 if higher_is_better else -1

    def drop(self, original: float, metric: float) -> float:
        """Return by how much ``metric`` is worse than ``original``."""
        difference = self._sign * (original - metric)
        if not self._relative or difference == 0:
            return difference
        return difference / abs(original) if original else math.copysign(math.inf, difference)

    def is_met(self, drop: float) -> bool:
        return drop <= self.max_drop


class Budget:
    """How much may be spent on validation; None is without limit."""

    def __init__(self, evaluations: int | None, seconds: float | None):
        self._evaluations = evaluations
        self._seconds = seconds
        self._start = time.perf_counter()

    def allows(self, used: int) -> bool:
        """Whether another evaluation may begin after ``used`` of them."""
        in_time = self._seconds is None or time.perf_counter() - self._start < self._seconds
        return in_time and (self._evaluations is None or used < self._evaluations)
