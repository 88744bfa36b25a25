"""SparsityAlgorithm: what the sparsity algorithms share. A level follows a schedule until it is frozen.

How a level becomes zeros is left to the subclasses, each in a file of its own.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from keras_compress.algorithms.base import (
    BoundOp,
    CompressionStage,
    LeveledAlgorithm,
    Position,
)
from keras_compress.calibration import BatchNormAdaptation
from keras_compress.errors import ConfigError
from keras_compress.layers import SparsityMask, Stage
from keras_compress.schedules import (
    ADAPTIVE_STEP,
    adaptive_level,
    exponential_level,
    multistep_level,
    polynomial_level,
)
from keras_compress.settings import Settings

__all__ = [
    "SparsityAlgorithm",
    "SparsityInit",
    "SparsityParams",
    "ask_level",
    "asked_level",
    "importance",
    "share_of_zeros",
]

Level = Annotated[float, Field(ge=0.0, lt=1.0)]


class SparsityParams(Settings):
    """The schedule of a level.

    Attributes:
        schedule: ``polynomial``, ``exponential``, ``multistep`` or ``adaptive``; see :mod:`keras_compress.schedules`.
        sparsity_target: the level to reach, in [0, 1). Default 0.5.
        sparsity_target_epoch: the epoch, counted from 0, at whose start the target is reached. Default 90.
        sparsity_freeze_epoch: the epoch from whose start on nothing changes any more. Default 100.
        update_per_optimizer_step: raise the level before every step instead of every epoch. Default False.
        steps_per_epoch: optimizer steps in an epoch, for ``update_per_optimizer_step``; by default what ``fit`` says, or the registered data.
        multistep_steps: epochs at which the level changes, for ``multistep``.
        multistep_sparsity_levels: the levels before, between and after them: one more than there are steps.
        patience: epochs that meet a level before the adaptive schedule raises it. Default 1.
        power: the exponent of the polynomial. Default 0.9.
        concave: whether the polynomial counts from its end; see :func:`~keras_compress.schedules.polynomial_level`. Default
            True.
        sparsity_level_setting_mode: ``global`` (default): the level holds for all weights together; ``local``: for each.
    """

    schedule: Literal["polynomial", "exponential", "multistep", "adaptive"] = "polynomial"
    sparsity_target: Level = 0.5
    sparsity_target_epoch: int = Field(90, ge=0)
    sparsity_freeze_epoch: int = Field(100, ge=0)
    update_per_optimizer_step: bool = False
    steps_per_epoch: int | None = Field(None, ge=1)
    multistep_steps: tuple[int, ...] = (90,)
    multistep_sparsity_levels: tuple[Level, ...] = (0.1, 0.5)
    patience: int = Field(1, ge=1)
    power: float = Field(0.9, gt=0)
    concave: bool = True
    sparsity_level_setting_mode: Literal["global", "local"] = "global"

    @model_validator(mode="after")
    def _steps_fit_levels(self) -> SparsityParams:
        steps, levels = self.multistep_steps, self.multistep_sparsity_levels
        if len(levels) != len(steps) + 1 or list(steps) != sorted(set(steps)) or list(levels) != sorted(levels):
            raise ValueError(
                "Expected: rising 'multistep_steps' and one more of rising 'multistep_sparsity_levels'. "
                f"Received: multistep_steps={list(steps)}, multistep_sparsity_levels={list(levels)}."
            )
        if self.update_per_optimizer_step and self.schedule in ("multistep", "adaptive"):
            raise ValueError(
                f"The schedule '{self.schedule}' changes between epochs. Expected: update_per_optimizer_step=false, or "
                "schedule 'polynomial' or 'exponential'. Received: update_per_optimizer_step=true."
            )
        return self

    @property
    def final_level(self) -> float:
        """The level the schedule ends at."""
        return self.multistep_sparsity_levels[-1] if self.schedule == "multistep" else self.sparsity_target

    def final_epoch(self) -> int | None:
        """Return the epoch from whose start on the level is final; None where training decides it."""
        if self.schedule == "adaptive":
            return None
        target = self.multistep_steps[-1:] if self.schedule == "multistep" else (self.sparsity_target_epoch,)
        return min(*target, self.sparsity_freeze_epoch) if target else 0

    def level_at(self, epoch: float, initial: float) -> float:
        """Return the level at a position in epochs; for the adaptive schedule if every epoch meets its level."""
        epoch = min(epoch, self.sparsity_freeze_epoch)
        if self.schedule == "adaptive":
            raised = initial + ADAPTIVE_STEP * (max(int(epoch), 0) // self.patience)
            return min(raised, self.sparsity_target)
        if self.schedule == "multistep":
            return multistep_level(epoch, self.multistep_steps, self.multistep_sparsity_levels)
        if self.schedule == "exponential":
            return exponential_level(epoch, initial, self.sparsity_target, self.sparsity_target_epoch)
        return polynomial_level(
            epoch, initial, self.sparsity_target, self.sparsity_target_epoch, self.power, concave=self.concave
        )


class SparsityInit(Settings):
    """How the model around the masks is adapted to them.

    Attributes:
        batchnorm_adaptation: adaptation of batch normalization, where ``sparsity_init`` is above 0 or a level was set.
    """

    batchnorm_adaptation: BatchNormAdaptation = BatchNormAdaptation()


class SparsityAlgorithm(LeveledAlgorithm):
    """Base of the algorithms that set a scheduled share of the weights to zero.

    Attributes:
        sparsity_init: the level before training, in [0, 1). Default 0.
        params: the schedule.
        initializer: adaptation of batch normalization to the zeros.
    """

    weight_stage: ClassVar[Stage] = Stage.MASK

    sparsity_init: Level = 0.0
    params: SparsityParams = SparsityParams()
    initializer: SparsityInit = SparsityInit()

    @model_validator(mode="after")
    def _starts_below_its_target(self) -> Any:
        if self.params.schedule != "multistep" and self.sparsity_init > self.params.sparsity_target:
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
    def initial_level(self) -> float:
        """The level before training."""
        return self.params.multistep_sparsity_levels[0] if self.params.schedule == "multistep" else self.sparsity_init

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
        """Ask the operations for a level; subclasses store it with :func:`ask_level`."""

    def freeze(self, ops: Sequence[BoundOp], frozen: bool = True) -> None:
        for bound in ops:
            bound.op.frozen.assign(frozen)

    def update(self, ops: Sequence[BoundOp], position: Position) -> bool:
        between_epochs = position.step_in_epoch < 0
        if not ops or not (between_epochs or self.params.update_per_optimizer_step) or _is_frozen(ops):
            return False
        level = self._next_level(ops, position)
        changed = np.float32(level) != np.float32(asked_level(ops))
        if changed:
            self.set_level(ops, level)
        if position.epoch >= self.params.sparsity_freeze_epoch:
            self.freeze(ops)
        return bool(changed)

    def planned_level(self, epoch: float) -> float:
        """Return the level of the schedule; for the adaptive one the level if every epoch meets its level."""
        between_epochs = not self.params.update_per_optimizer_step
        return self.params.level_at(math.floor(epoch) if between_epochs else epoch, self.initial_level)

    def _next_level(self, ops: Sequence[BoundOp], position: Position) -> float:
        params = self.params
        if params.schedule != "adaptive":
            return self.planned_level(self._epoch(position))
        level, first = asked_level(ops), ops[0].op
        if position.epoch < 1:
            return level
        reached, met = share_of_zeros(ops), int(first.epochs_met.numpy())
        level, met = adaptive_level(level, reached, met, params.patience, params.sparsity_target)
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
        return self.params.final_epoch()

    def stage(self, ops: Sequence[BoundOp], position: Position) -> CompressionStage:
        if not ops or asked_level(ops) >= np.float32(self.params.final_level):
            return CompressionStage.FULLY_COMPRESSED
        return CompressionStage.PARTIALLY_COMPRESSED if share_of_zeros(ops) else CompressionStage.UNCOMPRESSED

    def compression_rate(self, ops: Sequence[BoundOp]) -> float | None:
        return share_of_zeros(ops) if ops else None

    def statistics(self, ops: Sequence[BoundOp]) -> dict[str, float]:
        if not ops:
            return {}
        return {"sparsity_level": share_of_zeros(ops), "target_sparsity_level": asked_level(ops)}

    def remarks(self) -> list[str]:
        remarks = super().remarks()
        if self.params.schedule == "multistep" and {"sparsity_init"} & self.model_fields_set:
            remarks.append("'sparsity_init' has no effect: the schedule 'multistep' starts at its first level.")
        freeze_epoch, adaptive = self.params.sparsity_freeze_epoch, self.params.schedule == "adaptive"
        if not adaptive and self.planned_level(freeze_epoch) < self.params.final_level - 1e-9:
            remarks.append(
                f"'{self.name}' is frozen at epoch {freeze_epoch}, before it reaches its target. Raise "
                "'sparsity_freeze_epoch'."
            )
        return remarks


def share_of_zeros(ops: Sequence[BoundOp]) -> float:
    """Return the share of the weights that the masks set to zero, counted from the masks, in [0, 1]."""
    masks = [bound.op.kept() for bound in ops]
    total = sum(mask.size for mask in masks)
    return 1.0 - sum(int(np.count_nonzero(mask)) for mask in masks) / total if total else 0.0


def asked_level(ops: Sequence[BoundOp]) -> float:
    """Return the level the operations were last asked for."""
    return float(ops[0].op.level.numpy())


def ask_level(ops: Sequence[BoundOp], level: float) -> None:
    """Note the level the operations are asked for."""
    for bound in ops:
        bound.op.level.assign(level)


def importance(weight: np.ndarray, *, normed: bool) -> np.ndarray:
    """Return the magnitude of each weight, over the L2 norm of all of them if ``normed``; float32, same shape."""
    magnitude = np.abs(weight.astype(np.float32))
    norm = float(np.linalg.norm(magnitude.astype(np.float64).reshape(-1))) if normed else 1.0
    return (magnitude / norm).astype(np.float32) if norm > 0 else magnitude


def _is_frozen(ops: Sequence[BoundOp]) -> bool:
    op: SparsityMask = ops[0].op
    return bool(op.frozen.numpy())
