"""Constant sparsity: the zeros of a model that is already sparse stay zeros while something else compresses or trains it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from keras_compress._keras import keras
from keras_compress.algorithms.base import BoundOp, CompressionAlgorithm, Plan, PlanContext
from keras_compress.algorithms.registry import register_algorithm
from keras_compress.algorithms.sparsity import set_target_level, sparsity_of
from keras_compress.algorithms.weight_planning import plan_weights
from keras_compress.data import Dataset
from keras_compress.graph import ModelGraph
from keras_compress.layers import BinaryMask, Stage

__all__ = ["ConstSparsity"]


@register_algorithm
class ConstSparsity(CompressionAlgorithm):
    """Masks every weight that is zero at the start: ``mask = w != 0``, fixed for the whole training.

    Example:
        >>> ConstSparsity(ignored_scopes="classifier").ignored_scopes
        ('classifier',)
    """

    name: ClassVar[str] = "const_sparsity"
    weight_stage: ClassVar[Stage] = Stage.MASK

    def plan(self, graph: ModelGraph, context: PlanContext) -> Plan:
        return plan_weights(self, graph, context, lambda weight: BinaryMask(name=weight.op_name("mask")))

    def initialize(self, ops: Sequence[BoundOp], model: keras.Model, data: Dataset | None) -> bool:
        for bound in ops:
            bound.op.mask.assign(bound.weight_array() != 0)
            bound.op.frozen.assign(True)
        if ops:
            set_target_level(ops, sparsity_of(ops))
        return False

    def compression_rate(self, ops: Sequence[BoundOp]) -> float | None:
        return sparsity_of(ops) if ops else None

    def statistics(self, ops: Sequence[BoundOp]) -> dict[str, float]:
        return {"sparsity_level": sparsity_of(ops)} if ops else {}
