"""Magnitude sparsity: the weights of least magnitude become zero.

The masks are computed again whenever the schedule changes the level, from the float weights, so a weight that was
masked and has grown since comes back.

Source: Kozlov et al. 2020, arXiv:2002.08679, section 4.3; Zhu and Gupta 2017, arXiv:1710.01878.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from keras_compress._keras import keras
from keras_compress.algorithms.base import BoundOp, Plan, PlanContext
from keras_compress.algorithms.registry import register_algorithm
from keras_compress.algorithms.sparsity import SparsityAlgorithm, SparsityParams, importance, set_target_level
from keras_compress.algorithms.weight_planning import CompressibleWeight, plan_weights
from keras_compress.data import Dataset
from keras_compress.errors import ConfigError
from keras_compress.graph import ModelGraph
from keras_compress.layers import BinaryMask

__all__ = ["MagnitudeParams", "MagnitudeSparsity", "keep_largest", "outside_pattern"]


class MagnitudeParams(SparsityParams):
    """The schedule, and what makes a weight important."""

    weight_importance: Literal["abs", "normed_abs"] = "normed_abs"
    """``normed_abs`` (default): magnitude over the L2 norm of its weight tensor; ``abs``: magnitude."""
    pattern: str | None = Field(None, pattern=r"^\d+:\d+$")
    """``"N:M"``, as ``"2:4"``: of every M weights in a row along the input dimension N are kept, as some hardware
    demands; the target is then ``1 - N / M``. Default: None, zeros anywhere.
    """

    @model_validator(mode="before")
    @classmethod
    def _pattern_sets_the_target(cls, values: Any) -> Any:
        pattern = values.get("pattern") if isinstance(values, dict) else None
        if not isinstance(pattern, str) or not re.fullmatch(r"\d+:\d+", pattern):
            return values
        kept, group = map(int, pattern.split(":"))
        if not 0 < kept < group:
            raise ValueError(f'Expected: "N:M" with 0 < N < M, such as "2:4". Received: pattern={pattern!r}.')
        level = 1 - kept / group
        if abs(values.get("sparsity_target", level) - level) > 1e-6 or values.get("schedule") == "multistep":
            raise ValueError(
                f"The pattern {pattern!r} ends at the level {level:g}. Expected: no 'sparsity_target', or that, and "
                f"a schedule other than 'multistep'. Received: sparsity_target={values.get('sparsity_target')}, "
                f"schedule={values.get('schedule', 'polynomial')!r}."
            )
        return {**values, "sparsity_target": level}


@register_algorithm
class MagnitudeSparsity(SparsityAlgorithm):
    """Sets the weights of least importance to zero, exactly as many as the level says.

    ``mask = importance > t``, where ``t`` is the quantile ``level`` of the importance over all weights (``global``) or
    over each tensor (``local``). The masks are computed from the float weights whenever the level changes. Gradient:
    straight through, so that masked weights are trained too and can return.

    Example:
        >>> MagnitudeSparsity(0.6, by_epoch=5).params.sparsity_target
        0.6

    Source: Zhu and Gupta 2017, arXiv:1710.01878; Kozlov et al. 2020, arXiv:2002.08679, section 4.3.
    """

    name: ClassVar[str] = "magnitude_sparsity"

    params: MagnitudeParams = MagnitudeParams()
    """Schedule, importance and pattern; see :class:`MagnitudeParams` and
    :class:`~keras_compress.algorithms.sparsity.SparsityParams`.
    """

    def plan(self, graph: ModelGraph, context: PlanContext) -> Plan:
        return plan_weights(self, graph, context, self._mask)

    def _mask(self, weight: CompressibleWeight) -> BinaryMask | str:
        """Return the mask for a weight, or why its shape has no room for the pattern."""
        name = weight.op_name("mask")
        if self._pattern is None:
            return BinaryMask(name=name)
        axis = grouping_axis(weight.spec.channel_axes, len(weight.shape))
        if weight.shape[axis] % self._pattern[1]:
            return f"its input dimension of {weight.shape[axis]} does not divide into groups of {self._pattern[1]}"
        return BinaryMask(input_axis=axis, name=name)

    @property
    def _pattern(self) -> tuple[int, int] | None:
        if self.params.pattern is None:
            return None
        kept, group = self.params.pattern.split(":")
        return int(kept), int(group)

    def initialize(self, ops: Sequence[BoundOp], model: keras.Model, data: Dataset | None) -> bool:
        self.set_level(ops, self.schedule.initial)
        return self.schedule.initial > 0

    def set_level(self, ops: Sequence[BoundOp], level: float) -> None:
        if self._pattern is not None and level > self.params.sparsity_target + 1e-6:
            raise ConfigError(
                f"The pattern '{self.params.pattern}' has no more zeros than {self.params.sparsity_target:g}. Expected: a "
                f"level up to that. Received: level={level!r}."
            )
        for group in self.groups(ops):
            importances = [self._importance(bound) for bound in group]
            for bound, mask in zip(group, keep_largest(importances, level), strict=True):
                bound.op.mask.assign(mask)
        set_target_level(ops, level)

    def _importance(self, bound: BoundOp) -> np.ndarray:
        values = importance(bound.weight_array(), normed=self.params.weight_importance == "normed_abs")
        if self._pattern is not None:
            values = np.where(outside_pattern(values, *self._pattern, bound.op.input_axis), values, np.inf)
        return values


def keep_largest(importances: Sequence[np.ndarray], level: float) -> list[np.ndarray]:
    """Return masks that drop the share ``level`` of all numbers together, the smallest; exact to half a number.

    Among equal numbers the first are dropped. Infinite ones never are, nor is the largest of an array: a layer without any weight
    would pass nothing on.

    Example:
        >>> [mask.tolist() for mask in keep_largest([np.array([1.0, 5.0]), np.array([3.0, 4.0])], 0.5)]
        [[False, True], [False, True]]
    """
    flat = np.concatenate([_largest_infinite(values) for values in importances])
    count = min(round(level * flat.size), int(np.count_nonzero(np.isfinite(flat))))
    if count == 0:
        return [np.ones(values.shape, bool) for values in importances]
    threshold = np.partition(flat, count - 1)[count - 1]
    kept = flat > threshold
    ties = np.flatnonzero(flat == threshold)
    surplus = flat.size - count - int(np.count_nonzero(kept))
    kept[ties[len(ties) - surplus :]] = True
    sizes = np.cumsum([values.size for values in importances])[:-1]
    return [part.reshape(values.shape) for part, values in zip(np.split(kept, sizes), importances, strict=True)]


def _largest_infinite(values: np.ndarray) -> np.ndarray:
    """Return all numbers in one row, the largest made infinite."""
    flat = values.astype(np.float64).reshape(-1)
    if flat.size:
        flat[flat.size - 1 - flat[::-1].argmax()] = np.inf  # of equal ones the last
    return flat


def outside_pattern(values: np.ndarray, kept: int, group: int, axis: int) -> np.ndarray:
    """Return which numbers an N:M pattern drops: all but the ``kept`` largest of every ``group`` in a row along ``axis``.

    Example:
        >>> outside_pattern(np.array([3.0, 1.0, 2.0, 4.0]), 2, 4, axis=0).tolist()
        [False, True, True, False]
    """
    moved = np.moveaxis(values, axis, -1)
    groups = moved.reshape(*moved.shape[:-1], -1, group)
    order = np.argsort(groups, axis=-1, kind="stable")
    outside = np.zeros(groups.shape, bool)
    np.put_along_axis(outside, order[..., : group - kept], True, axis=-1)
    return np.moveaxis(outside.reshape(moved.shape), -1, axis)


def grouping_axis(channel_axes: Sequence[int], rank: int) -> int:
    """Return the axis along which an N:M pattern groups a weight: the last one that indexes no output channels.

    Example:
        >>> grouping_axis((-1,), rank=4), grouping_axis((-2, -1), rank=4)
        (2, 1)
    """
    channels = {axis % rank for axis in channel_axes}
    return max((axis for axis in range(rank) if axis not in channels), default=rank - 1)
