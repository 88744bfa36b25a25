"""Regularization-based (RB) sparsity: training decides which weights become zero.

Every weight has a gate that is open with a trained probability. A term of the loss pulls the share of open gates to
what the level demands; the gradient of the task decides which of them close.

Source: Kozlov et al. 2020, arXiv:2002.08679, section 4.3; Louizos et al. 2018, arXiv:1712.01312.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.algorithms.base import BoundOp, CompressionStage, Plan, PlanContext, Position, RegularizedAlgorithm
from keras_compress.algorithms.registry import register_algorithm
from keras_compress.algorithms.sparsity import (
    ScheduleName,
    SparsityAlgorithm,
    SparsityParams,
    importance,
    set_target_level,
    sparsity_of,
)
from keras_compress.algorithms.weight_planning import CompressibleWeight, compressible_weights, plan_weights
from keras_compress.data import Dataset
from keras_compress.graph import ModelGraph
from keras_compress.layers import StochasticGate
from keras_compress.numerics import hard_gates

__all__ = ["RBParams", "RBSparsity"]

#: The regularization loss is 1 where the share of open gates misses the level by this much.
LOSS_WIDTH = 0.05
#: Logit of the most important weight's gate at the start; that of the least important one is 0.
INITIAL_LOGIT = 8.0
#: How far a logit moves when the trained variable moves by one.
PACE = 10.0
#: Gradient to the trained variable, over that of the share of open gates.
GRADIENT_SCALE = 0.1
#: A level counts as reached when the gates are this close to it.
TOLERANCE = 0.01


class RBParams(SparsityParams):
    """The schedule, exponential by default; see :class:`~keras_compress.algorithms.sparsity.SparsityParams`."""

    schedule: ScheduleName = "exponential"
    """``polynomial``, ``exponential``, ``multistep`` or ``adaptive``; see :mod:`keras_compress.schedules`."""
    seed: int = 0
    """Start of the random numbers. Default 0."""


@register_algorithm
class RBSparsity(SparsityAlgorithm, RegularizedAlgorithm):
    """Trains gates on the weights until the scheduled share of them is closed.

    The loss is ``((open / all - (1 - level)) / 0.05)**2``, where ``open`` counts the gates with a positive logit; it is
    added to the model, so that ``fit`` trains it. At the start the logits rise with the rank of the weights' magnitude,
    from 0 to 8: the weights of largest magnitude close last, unless the task decides otherwise.

    Example:
        >>> RBSparsity(params={"sparsity_target": 0.6, "sparsity_target_epoch": 5}).params.schedule
        'exponential'

    Source: Kozlov et al. 2020, arXiv:2002.08679, section 4.3; Louizos et al. 2018, arXiv:1712.01312.
    """

    name: ClassVar[str] = "rb_sparsity"

    params: RBParams = RBParams()
    """See :class:`RBParams`. From ``sparsity_freeze_epoch`` on the gates are fixed and the loss is zero."""

    def plan(self, graph: ModelGraph, context: PlanContext) -> Plan:
        scope = self.scope(context)
        together = sum(math.prod(weight.shape) for weight in compressible_weights(graph) if weight.layer in scope)

        def make_op(weight: CompressibleWeight) -> StochasticGate:
            seed = zlib.crc32(f"{weight.layer} {weight.spec.path} {self.params.seed}".encode()) & 0x7FFFFFFF
            gates = math.prod(weight.shape) if self.local else together
            return StochasticGate(seed, PACE, GRADIENT_SCALE * gates, name=weight.op_name("mask"))

        return plan_weights(self, graph, context, make_op)

    def initialize(self, ops: Sequence[BoundOp], model: keras.Model, data: Dataset | None) -> bool:
        for group in self.groups(ops):
            ranks = _ranks([importance(bound.weight_array(), normed=True) for bound in group])
            for bound, rank in zip(group, ranks, strict=True):
                bound.op.gates.assign((rank - self.schedule.initial) * (INITIAL_LOGIT / PACE))
        set_target_level(ops, self.schedule.initial)
        return self.schedule.initial > 0

    def set_level(self, ops: Sequence[BoundOp], level: float) -> None:
        set_target_level(ops, level)

    def freeze(self, ops: Sequence[BoundOp], frozen: bool = True) -> None:
        for bound in ops:
            bound.op.freeze(frozen)

    def loss(self, ops: Sequence[BoundOp]) -> tf.Tensor | None:
        if not ops:
            return None
        losses = [_level_loss([bound.op for bound in group]) for group in self.groups(ops)]
        return tf.add_n(losses) / float(len(losses))

    def stage(self, ops: Sequence[BoundOp], position: Position) -> CompressionStage:
        stage = super().stage(ops, position)
        reached = not ops or sparsity_of(ops) >= self.schedule.final - TOLERANCE
        return stage if reached else min(stage, CompressionStage.PARTIALLY_COMPRESSED)


def _level_loss(ops: Sequence[StochasticGate]) -> tf.Tensor:
    """Return the squared distance between the share of open gates and ``1 - level``, zero once frozen."""
    gates = sum(op.gates.shape.num_elements() for op in ops)
    open_share = tf.add_n([tf.reduce_sum(hard_gates(op.logits())) for op in ops]) / float(gates)
    distance = (open_share - (1.0 - ops[0].level)) / LOSS_WIDTH
    return tf.where(ops[0].frozen, 0.0, tf.square(distance))


def _ranks(importances: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the rank of every number among all of them, in (0, 1), in the shapes of the arrays."""
    flat = np.concatenate([values.reshape(-1) for values in importances])
    ranks = np.empty(flat.size, np.float32)
    ranks[np.argsort(flat, kind="stable")] = (np.arange(flat.size, dtype=np.float32) + 0.5) / flat.size
    sizes = np.cumsum([values.size for values in importances])[:-1]
    return [part.reshape(values.shape) for part, values in zip(np.split(ranks, sizes), importances, strict=True)]
