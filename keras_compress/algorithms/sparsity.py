"""SparsityAlgorithm: what the sparsity algorithms share. A level follows a schedule until it is frozen.

How a level becomes zeros is left to the subclasses, each in a file of its own.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from keras_compress.algorithms.base import (
    BoundOp,
    CompressionStage,
    Position,
    ScheduledAlgorithm,
)
from keras_compress.calibration import BatchNormAdaptation
from keras_compress.errors import ConfigError
from keras_compress.layers import SparsityMask, Stage
from keras_compress.schedules import (
    AdaptiveSchedule,
    ExponentialSchedule,
    MultistepSchedule,
    PolynomialSchedule,
    Schedule,
)
from keras_compress.settings import Settings

__all__ = [
    "SparsityAlgorithm",
    "SparsityInit",
    "SparsityParams",
    "importance",
    "set_target_level",
    "sparsity_of",
    "target_level",
]

Level = Annotated[float, Field(ge=0.0, lt=1.0)]
ScheduleName = Literal["polynomial", "exponential", "multistep", "adaptive"]


class SparsityParams(Settings):
    """The schedule of a level."""

    schedule: ScheduleName = "polynomial"
    """``polynomial``, ``exponential``, ``multistep`` or ``adaptive``; see :mod:`keras_compress.schedules`."""
    sparsity_target: Level = 0.5
    """The level to reach, in [0, 1). Default 0.5."""
    sparsity_target_epoch: int = Field(90, ge=0)
    """The epoch, counted from 0, at whose start the target is reached. Default 90."""
    sparsity_freeze_epoch: int = Field(100, ge=0)
    """The epoch from whose start on nothing changes any more. Default 100."""
    update_per_optimizer_step: bool = False
    """Raise the level before every step instead of every epoch. Default False."""
    steps_per_epoch: int | None = Field(None, ge=1)
    """Optimizer steps in an epoch, for ``update_per_optimizer_step``; by default what ``fit`` says, or the registered
    data.
    """
    multistep_steps: tuple[int, ...] = (90,)
    """Epochs at which the level changes, for ``multistep``."""
    multistep_sparsity_levels: tuple[Level, ...] = (0.1, 0.5)
    """The levels before, between and after them: one more than there are steps."""
    patience: int = Field(1, ge=1)
    """Epochs that meet a level before the adaptive schedule raises it. Default 1."""
    power: float = Field(0.9, gt=0)
    """The exponent of the polynomial. Default 0.9."""
    concave: bool = True
    """Start fast and end slowly (for a power above 1); see :class:`~keras_compress.schedules.PolynomialSchedule`. Default True.
    """
    sparsity_level_setting_mode: Literal["global", "local"] = "global"
    """``global`` (default): the level holds for all weights together; ``local``: for each."""

    @model_validator(mode="after")
    def _steps_fit_levels(self) -> SparsityParams:
        steps, levels = self.multistep_steps, self.multistep_sparsity_levels
        if len(levels) != len(steps) + 1 or list(steps) != sorted(set(steps)) or list(levels) != sorted(levels):
            raise ValueError(
                "Expected: rising 'multistep_steps' and one more of rising 'multistep_sparsity_levels'. "
                f"Received: multistep_steps={list(steps)}, multistep_sparsity_levels={list(levels)}."
            )
        if self.update_per_optimizer_step and not self.to_schedule(0.0).follows_steps:
            raise ValueError(
                f"The schedule '{self.schedule}' changes between epochs. Expected: update_per_optimizer_step=false, or "
                "schedule 'polynomial' or 'exponential'. Received: update_per_optimizer_step=true."
            )
        return self

    def to_schedule(self, initial: float) -> Schedule:
        """Return the schedule as a value.

        Args:
            initial: the level before training; a schedule with levels of its own ignores it.
        """
        return _SCHEDULES[self.schedule](self, initial)


#: How the keys of a configuration make a schedule, by the name of the schedule.
_SCHEDULES: dict[str, Callable[[SparsityParams, float], Schedule]] = {
    "polynomial": lambda params, initial: PolynomialSchedule(
        initial, params.sparsity_target, params.sparsity_target_epoch, params.power, params.concave
    ),
    "exponential": lambda params, initial: ExponentialSchedule(
        initial, params.sparsity_target, params.sparsity_target_epoch
    ),
    "multistep": lambda params, initial: MultistepSchedule(params.multistep_steps, params.multistep_sparsity_levels),
    "adaptive": lambda params, initial: AdaptiveSchedule(initial, params.sparsity_target, params.patience),
}


class SparsityInit(Settings):
    """How the model around the masks is adapted to them."""

    batchnorm_adaptation: BatchNormAdaptation = BatchNormAdaptation()
    """Adaptation of batch normalization, where ``sparsity_init`` is above 0 or a level was set."""


class SparsityAlgorithm(ScheduledAlgorithm):
    """Base of the algorithms that set a scheduled share of the weights to zero.

    Args:
        level: the share of zeros to reach, in [0, 1); the same as ``params={"sparsity_target": …}``. Default 0.5.
        by_epoch: the epoch at whose start it is reached; the same as ``params={"sparsity_target_epoch": …}``. Default 90.
        values: the keys of the configuration.
    """

    weight_stage: ClassVar[Stage] = Stage.MASK

    def __init__(self, level: float | None = None, *, by_epoch: int | None = None, **values: Any):
        given = {"sparsity_target": level, "sparsity_target_epoch": by_epoch}
        short = {key: value for key, value in given.items() if value is not None}
        params = values.get("params", {})
        if short and not isinstance(params, dict):
            raise ConfigError(
                f"The level is given twice. Expected: {type(self).__name__}(level, by_epoch=…), or params=…. Received: both. Leave one "
                "of them out."
            )
        twice = sorted(short.keys() & params) if short else []
        if twice:
            raise ConfigError(
                f"'{twice[0]}' is given twice. Expected: {type(self).__name__}(level, by_epoch=…), or 'params'. Received: "
                f"{short[twice[0]]!r} and {params[twice[0]]!r}. Leave one of them out."
            )
        super().__init__(**({**values, "params": {**params, **short}} if short else values))

    #: Tells pydantic to validate dicts without this ``__init__``, see :class:`~keras_compress.settings.Settings`.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    sparsity_init: Level = 0.0
    """The level before training, in [0, 1). Default 0."""
    params: SparsityParams = SparsityParams()
    """The schedule."""
    initializer: SparsityInit = SparsityInit()
    """Adaptation of batch normalization to the zeros."""

    @model_validator(mode="after")
    def _starts_below_its_target(self) -> Any:
        if self.schedule.initial > self.schedule.final:
            raise ValueError(
                "Expected: sparsity_init at most params.sparsity_target. "
                f"Received: sparsity_init={self.sparsity_init}, sparsity_target={self.params.sparsity_target}."
            )
        adapts = self.initializer.batchnorm_adaptation.on_level_change
        if adapts and self.params.update_per_optimizer_step:
            raise ValueError(
                "Batch normalization cannot be adapted before every step. Expected: on_level_change=true with "
                "params.update_per_optimizer_step=false. Received: both true."
            )
        return self

    @property
    def batch_norm_adaptation(self) -> BatchNormAdaptation:
        return self.initializer.batchnorm_adaptation

    @property
    def schedule(self) -> Schedule:
        """The schedule of the level."""
        return self.params.to_schedule(self.sparsity_init)

    def groups(self, ops: Sequence[BoundOp]) -> list[list[BoundOp]]:
        """Return the operations that share a level: all together, or each by itself."""
        together = [list(ops)] if ops else []
        return [[bound] for bound in ops] if self.local else together

    @property
    def local(self) -> bool:
        """Whether the level holds for each weight tensor by itself."""
        return self.params.sparsity_level_setting_mode == "local"

    @abstractmethod
    def set_level(self, ops: Sequence[BoundOp], level: float) -> None:
        """Bring the operations to a level; subclasses store it with :func:`set_target_level`."""

    def freeze(self, ops: Sequence[BoundOp], frozen: bool = True) -> None:
        for bound in ops:
            bound.op.frozen.assign(frozen)

    def update(self, ops: Sequence[BoundOp], position: Position) -> bool:
        between_epochs = position.step_in_epoch < 0
        if not ops or not (between_epochs or self.params.update_per_optimizer_step) or _is_frozen(ops):
            return False
        level = self._next_level(ops, position)
        changed = np.float32(level) != np.float32(target_level(ops))
        if changed:
            self.set_level(ops, level)
        if position.epoch >= self.params.sparsity_freeze_epoch:
            self.freeze(ops)
        return bool(changed)

    def planned_level(self, epoch: float) -> float:
        """Return the level of the schedule; for the adaptive one the level if every epoch meets its level."""
        between_epochs = not self.params.update_per_optimizer_step
        epoch = min(math.floor(epoch) if between_epochs else epoch, self.params.sparsity_freeze_epoch)
        return self.schedule.level(epoch)

    def _next_level(self, ops: Sequence[BoundOp], position: Position) -> float:
        if self.schedule.final_epoch is not None:
            return self.planned_level(self._epoch(position))
        first = ops[0].op
        level, met = self.schedule.next_level(
            position.epoch, target_level(ops), sparsity_of(ops), int(first.epochs_met.numpy())
        )
        first.epochs_met.assign(met)
        return level

    def _epoch(self, position: Position) -> float:
        """Return the position in epochs, with the fraction that has passed where the level follows the steps."""
        if not self.params.update_per_optimizer_step:
            return float(position.epoch)
        steps_per_epoch = self.params.steps_per_epoch or position.steps_per_epoch
        if steps_per_epoch is None:
            raise ConfigError(
                f"'{self.name}' raises its level with the optimizer steps and does not know how many there are in an "
                "epoch. Expected: data of known length in fit, or 'params.steps_per_epoch'. "
                "Received: steps_per_epoch=None. Set scheduler.steps_per_epoch in a training loop of your own."
            )
        return position.epoch + min(max(position.step_in_epoch, 0) / steps_per_epoch, 1.0)

    def final_epoch(self) -> int | None:
        final_epoch = self.schedule.final_epoch
        return None if final_epoch is None else min(int(final_epoch), self.params.sparsity_freeze_epoch)

    def stage(self, ops: Sequence[BoundOp], position: Position) -> CompressionStage:
        if not ops or target_level(ops) >= np.float32(self.schedule.final):
            return CompressionStage.FULLY_COMPRESSED
        return CompressionStage.PARTIALLY_COMPRESSED if sparsity_of(ops) else CompressionStage.UNCOMPRESSED

    def compression_rate(self, ops: Sequence[BoundOp]) -> float | None:
        return sparsity_of(ops) if ops else None

    def statistics(self, ops: Sequence[BoundOp]) -> dict[str, float]:
        if not ops:
            return {}
        return {"sparsity_level": sparsity_of(ops), "target_sparsity_level": target_level(ops)}

    def configuration_warnings(self) -> list[str]:
        remarks = super().configuration_warnings()
        if "sparsity_init" in self.model_fields_set and self.schedule.initial != self.sparsity_init:
            remarks.append(
                f"'sparsity_init' has no effect: the schedule '{self.params.schedule}' starts at its first level."
            )
        freeze_epoch, decided = self.params.sparsity_freeze_epoch, self.schedule.final_epoch is not None
        if decided and self.planned_level(freeze_epoch) < self.schedule.final - 1e-9:
            remarks.append(
                f"'{self.name}' is frozen at epoch {freeze_epoch}, before it reaches its target. Raise "
                "'sparsity_freeze_epoch'."
            )
        return remarks


def sparsity_of(ops: Sequence[BoundOp]) -> float:
    """Return the share of the weights that the masks set to zero, counted from the masks, in [0, 1].

    Args:
        ops: operations of class :class:`~keras_compress.layers.SparsityMask`.
    """
    masks = [bound.op.kept() for bound in ops]
    total = sum(mask.size for mask in masks)
    return 1.0 - sum(int(np.count_nonzero(mask)) for mask in masks) / total if total else 0.0


def target_level(ops: Sequence[BoundOp]) -> float:
    """Return the level that was last set."""
    return float(ops[0].op.level.numpy())


def set_target_level(ops: Sequence[BoundOp], level: float) -> None:
    """Set the target level of the operations."""
    for bound in ops:
        bound.op.level.assign(level)


def importance(weight: np.ndarray, *, normed: bool) -> np.ndarray:
    """Return the magnitude of each weight as float32, in the shape of the weight.

    Args:
        weight: float array.
        normed: divide by the L2 norm of the whole tensor, so that tensors of different sizes can be compared.

    Example:
        >>> importance(np.array([3.0, -4.0]), normed=True).tolist()
        [0.6000000238418579, 0.800000011920929]
    """
    magnitude = np.abs(weight.astype(np.float32))
    norm = float(np.linalg.norm(magnitude.astype(np.float64).reshape(-1))) if normed else 1.0
    return (magnitude / norm).astype(np.float32) if norm > 0 else magnitude


def _is_frozen(ops: Sequence[BoundOp]) -> bool:
    op: SparsityMask = ops[0].op
    return bool(op.frozen.numpy())
