"""Binarization: convolutions of two-valued weights and two-valued activations, switched on in stages.

Source: Kozlov et al. 2020, arXiv:2002.08679, section 4.2; Rastegari et al. 2016, arXiv:1603.05279; Zhou et al. 2016,
arXiv:1606.06160.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from keras_compress._keras import keras
from keras_compress.algorithms.activation_planning import plan_activations
from keras_compress.algorithms.base import (
    BoundOp,
    CompressionAlgorithm,
    CompressionStage,
    OptimizerGuide,
    Plan,
    PlanContext,
    Position,
)
from keras_compress.algorithms.registry import register_algorithm
from keras_compress.algorithms.weight_planning import CompressibleWeight, plan_weights
from keras_compress.calibration import (
    BatchNormAdaptation,
    Measurement,
    RangeInitializer,
    calibrate_activations,
    observable,
)
from keras_compress.data import Dataset
from keras_compress.graph import ModelGraph, NodeRef, TensorRef, WrapWeight
from keras_compress.graph.quantization_points import QuantizationPoint
from keras_compress.layers import BinaryActivation, BinaryWeight, Stage
from keras_compress.settings import OneOrMore, Settings

__all__ = ["Binarization", "StagedParams"]

LayerType = Literal["Conv1D", "Conv2D", "DepthwiseConv2D", "Dense"]


class StagedParams(Settings):
    """The stages: floating point, binary activations, binary weights too, falling learning rate without weight decay."""

    activations_quant_start_epoch: int = Field(1, ge=0)
    """Epoch, counted from 0, from whose start on activations are binary; 0 for from before training on. Default 1."""
    weights_quant_start_epoch: int = Field(1, ge=0)
    """The same for weights. Default 1."""
    lr_poly_drop_start_epoch: int | None = Field(None, ge=0)
    """From here on the learning rate falls to zero, over ``lr_poly_drop_duration_epochs``. Default: it does not fall.
    """
    lr_poly_drop_duration_epochs: int = Field(30, ge=1)
    """How many epochs that fall takes. Default 30."""
    base_lr: float = Field(1e-3, gt=0)
    """The learning rate at which the fall starts. Default 1e-3."""
    base_wd: float | None = Field(None, ge=0)
    """Weight decay until ``disable_wd_start_epoch``. Default: that of the optimizer."""
    disable_wd_start_epoch: int | None = Field(None, ge=0)
    """From here on weight decay is 0. Default: it stays."""
    batch_multiplier: int | None = None
    """Accepted for other frameworks, without effect."""


class BinarizationInit(Settings):
    """How the scales of activations are first set, and batch normalization is adapted."""

    range: RangeInitializer = RangeInitializer()
    """How many samples the scale is measured on: the smallest of the top 0.1 % of values."""
    batchnorm_adaptation: BatchNormAdaptation = BatchNormAdaptation()
    """Used where weights or activations are binary from before training on."""


@register_algorithm
class Binarization(OptimizerGuide):
    """One bit for weights and activations of convolutions.

    Weights become ``mean(|w|) * sign(w)``, activations ``scale * 1[x > scale * threshold]``, each from an epoch on; see
    :class:`~keras_compress.layers.BinaryWeight` and :class:`~keras_compress.layers.BinaryActivation`. The first
    convolution, the classifier and the convolutions of shortcuts usually stay in floating point, or go to INT8: list
        them under ``ignored_scopes``, or let
    :func:`keras_compress.keep_in_float` do it.

    Example:
        >>> Binarization(mode="dorefa", params={"weights_quant_start_epoch": 3}).params.activations_quant_start_epoch
        1

    Source: Kozlov et al. 2020, arXiv:2002.08679, section 4.2; Rastegari et al. 2016, arXiv:1603.05279; Zhou et al.
    2016, arXiv:1606.06160.
    """

    name: ClassVar[str] = "binarization"
    weight_stage: ClassVar[Stage] = Stage.BINARIZE
    ignored_keys: ClassVar[Mapping[str, str]] = {
        **CompressionAlgorithm.ignored_keys,
        "params.batch_multiplier": "the size of a batch is that of your data",
    }

    mode: Literal["xnor", "dorefa"] = "xnor"
    """``xnor`` (default): weights have one scale per output channel; ``dorefa``: one per weight tensor."""
    layer_types: Annotated[tuple[LayerType, ...], OneOrMore()] = ("Conv2D",)
    """Classes of layers to binarize, of ``Conv1D``, ``Conv2D``, ``DepthwiseConv2D`` and ``Dense``. Default: ``Conv2D``.
    """
    params: StagedParams = StagedParams()
    """The stages, see :class:`StagedParams`."""
    initializer: BinarizationInit = BinarizationInit()
    """Samples for the scales of activations."""

    def plan(self, graph: ModelGraph, context: PlanContext) -> Plan:
        weights = plan_weights(self, graph, context, self._binarizer)
        points = _points(graph, {edit.layer for edit in weights.edits if isinstance(edit, WrapWeight)})
        activations = plan_activations(graph, points, lambda _, name: BinaryActivation(name=name), "binarizer")
        return dataclasses.replace(weights, edits=(*weights.edits, *activations))

    def _binarizer(self, weight: CompressibleWeight) -> BinaryWeight | str:
        """Return the operation for a weight, or why there is none."""
        if weight.node.config.get("data_format") == "channels_first":
            return "binary activations have their thresholds on the last axis, and its channels come first"
        if not weight.node.is_a(*self.layer_types):
            return f"binarization was asked for layers of class {', '.join(self.layer_types)}"
        axes = weight.spec.channel_axes if self.mode == "xnor" else None
        return BinaryWeight(axes, name=weight.op_name("binarizer"))

    def initialize(self, ops: Sequence[BoundOp], model: keras.Model, data: Dataset | None) -> bool:
        activations = [bound.op for bound in ops if bound.variable is None]
        samples = self.initializer.range.num_init_samples
        if activations and (data is None or not samples):
            warnings.warn(
                f"{len(activations)} binary activations have no measured scale, because no data were given. Pass some: "
                'config = kc.register_default_init_args(config, train_dataset), with "num_init_samples" above 0.',
                stacklevel=2,
            )
        elif activations and data is not None:
            top = Measurement(RangeInitializer(type="percentile", num_init_samples=samples))
            calibrate_activations(model, dict.fromkeys(activations, top), observable(model), data)
        return self.update(ops, Position())

    @property
    def batch_norm_adaptation(self) -> BatchNormAdaptation:
        return self.initializer.batchnorm_adaptation

    def update(self, ops: Sequence[BoundOp], position: Position) -> bool:
        if position.step_in_epoch >= 0:
            return False
        changed = False
        for bound in ops:
            active = self._is_active(bound, position)
            if active != bool(bound.op.active.numpy()):
                bound.op.active.assign(active)
                changed = True
        return changed

    def _is_active(self, bound: BoundOp, position: Position) -> bool:
        params = self.params
        of_weights = bound.variable is not None
        start = params.weights_quant_start_epoch if of_weights else params.activations_quant_start_epoch
        return max(position.epoch, 0) >= start

    def final_epoch(self) -> int | None:
        start = max(self.params.activations_quant_start_epoch, self.params.weights_quant_start_epoch)
        return start if start > 0 else -1

    def stage(self, ops: Sequence[BoundOp], position: Position) -> CompressionStage:
        active = {bool(bound.op.active.numpy()) for bound in ops}
        if active <= {True}:
            return CompressionStage.FULLY_COMPRESSED
        return CompressionStage.PARTIALLY_COMPRESSED if True in active else CompressionStage.UNCOMPRESSED

    def learning_rate(self, epoch: float) -> float | None:
        start = self.params.lr_poly_drop_start_epoch
        if start is None or epoch < start:
            return None
        left = 1.0 - (epoch - start) / self.params.lr_poly_drop_duration_epochs
        return self.params.base_lr * max(left, 0.0)

    def weight_decay(self, epoch: float) -> float | None:
        start = self.params.disable_wd_start_epoch
        return 0.0 if start is not None and epoch >= start else self.params.base_wd

    def statistics(self, ops: Sequence[BoundOp]) -> dict[str, float]:
        weights = [bound.op for bound in ops if bound.variable is not None]
        activations = [bound.op for bound in ops if bound.variable is None]
        return {
            "binary_weights": float(sum(bool(op.active.numpy()) for op in weights)),
            "binary_activations": float(sum(bool(op.active.numpy()) for op in activations)),
        }


def _points(graph: ModelGraph, layers: set[str]) -> list[QuantizationPoint]:
    """Return every tensor that the layers read, with all of them that read it."""
    readers: dict[TensorRef, list[NodeRef]] = {}
    for node in graph.nodes.values():
        if node.ref.layer in layers:
            for tensor in node.inputs:
                readers.setdefault(tensor, []).append(node.ref)
    return [QuantizationPoint((tensor,), tuple(consumers)) for tensor, consumers in readers.items()]
