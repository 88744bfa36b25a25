"""FitPosition: where a call of ``fit`` stands, as a checkpoint holds it.

It belongs to the numbers of the checkpoint: so many batches of this epoch have changed them. The position of the schedules
is another one, in :mod:`keras_compress.scheduler`: it counts over all calls of ``fit``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["FitPosition"]


@dataclass(frozen=True)
class FitPosition:
    """The place of a call of ``fit``.

    Attributes:
        first_epoch: its ``initial_epoch``.
        epoch: the epoch it is in, or the next one after the end of an epoch; counted as Keras counts it.
        batch: how many batches of that epoch have been trained.
        steps: batches of an epoch; None while that is not known.
        entered: whether the schedules have gone to that epoch.
        seed: TensorFlow's global seed; None without one.
        optimizer: the name of the optimizer's class.
        metrics: inside an epoch, the values of all variables of the metrics.
        logs: after the end of an epoch, the numbers in its logs.
    """

    first_epoch: int
    epoch: int
    batch: int = 0
    steps: int | None = None
    entered: bool = False
    seed: int | None = None
    optimizer: str | None = None
    metrics: Sequence[Any] = ()
    logs: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the place as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> FitPosition:
        """Read what :meth:`to_dict` wrote.

        Raises:
            TypeError: a value is no whole number, or not of its kind.
            ValueError: a number is negative or too large.
        """
        if not isinstance(values, dict):
            raise TypeError(f"the place in fit is a {type(values).__name__}, not a dict")
        position = cls(**values)
        for name in ("first_epoch", "epoch", "batch", "steps", "seed"):
            value = getattr(position, name)
            if value is None and name in ("steps", "seed"):
                continue
            if type(value) is not int:
                raise TypeError(f"{name} is a {type(value).__name__}, not a whole number")
            if not 0 <= value < 2**63:
                raise ValueError(f"{name} is no number that a training reaches")
        if position.epoch < position.first_epoch:
            raise ValueError("epoch is smaller than first_epoch")
        if type(position.entered) is not bool:
            raise TypeError("entered is neither true nor false")
        if not isinstance(position.optimizer, (str, type(None))):
            raise TypeError("optimizer is no name")
        if not isinstance(position.metrics, (list, tuple)):
            raise TypeError("metrics is not a list")
        if not isinstance(position.logs, dict) or not all(type(v) in (int, float) for v in position.logs.values()):
            raise TypeError("logs is not a dict of numbers")
        return position

    @property
    def whole_epoch(self) -> bool:
        """Whether all batches of the epoch have been trained, and its end has not come yet."""
        return self.steps is not None and self.batch >= self.steps > 0
