"""Quantization: fake quantizers on weights and activations with trainable ranges.

The algorithm decides which weights and which edges get a quantizer and with what settings. Where an edge can carry
integers is :mod:`keras_compress.graph.quantization_points`; how a range is measured is
:mod:`keras_compress.calibration`.

Source: Kozlov et al. 2020, arXiv:2002.08679; Jacob et al. 2018, arXiv:1712.05877.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from keras_compress._keras import keras
from keras_compress.algorithms.activation_planning import plan_activations
from keras_compress.algorithms.base import (
    OUTSIDE,
    PREPROCESSING,
    BoundOp,
    CompressionAlgorithm,
    Plan,
    PlanContext,
    Scope,
)
from keras_compress.algorithms.fixed_ranges import fixed_quantizer, fixed_range, require_quantizers
from keras_compress.algorithms.new_quantizer import count_asymmetric, new_quantizer
from keras_compress.algorithms.quantizer_settings import GroupSettings, QuantizerInit, QuantizerSettings, ScopeOverrides
from keras_compress.algorithms.registry import register_algorithm
from keras_compress.algorithms.scope import matches, matching
from keras_compress.algorithms.shared_ranges import joined_by_configuration, joined_operands
from keras_compress.algorithms.target_runtime import prepared_for, with_quantized_outputs
from keras_compress.algorithms.weight_planning import CompressibleWeight, plan_weights
from keras_compress.calibration import (
    ActivationRanges,
    BatchNormAdaptation,
    Measurement,
    RangeInitializer,
    StatisticsCollector,
    calibrate_weight,
)
from keras_compress.data import Dataset
from keras_compress.graph import GraphNode, InsertLayer, LayerRole, ModelGraph, ModelSnapshot, TensorRef
from keras_compress.graph.channel_axis import channel_axis
from keras_compress.graph.frozen_preprocessing import frozen_preprocessing
from keras_compress.graph.passes.split_separable import split_separable
from keras_compress.graph.quantization_points import QuantizationPoint, quantization_points
from keras_compress.graph.topology import first_compute_layers
from keras_compress.layers import AsymmetricFakeQuantize, FakeQuantize

__all__ = ["Quantization"]


_GROUPS = ("weights", "activations", "scope_overrides.weights.*", "scope_overrides.activations.*")
_LOGARITHM_SCALE = [f"{group}.logarithm_scale" for group in _GROUPS]
#: Keys of an automatic search of bit widths, left out when the configuration is read.
_SEARCH = [
    f"initializer.precision.{key}"
    for key in (
        *("bits", "num_data_points", "iter_number", "tolerance", "compression_ratio", "eval_subset_ratio"),
        *("warmup_iter_number", "traces_per_layer_path", "dump_init_precision_data", "bitwidth_assignment_mode"),
    )
]


@register_algorithm
class Quantization(CompressionAlgorithm):
    """Quantization-aware training with fake quantizers.

    Every weight ``w`` becomes ``Q(w)`` and every activation that feeds an integer operation ``Q(x)``, with
    ``Q(x) = s * (clip(round(x / s) + z, 0, 2**bits - 1) - z)``; the ranges, and with them ``s``, are trained.

    Example:
        >>> Quantization(preset="mixed", weights={"bits": 4}).weights.bits
        4

    Source: Kozlov et al. 2020, arXiv:2002.08679, section 4.1; Jacob et al. 2018, arXiv:1712.05877.
    """

    name: ClassVar[str] = "quantization"
    ignored_keys: ClassVar[Mapping[str, str]] = {
        **CompressionAlgorithm.ignored_keys,
        "params": "there is no staged schedule, quantizers are active from the start",
        "export_to_onnx_standard_ops": "it is deprecated; ONNX files consist of standard operations",
        **dict.fromkeys(_LOGARITHM_SCALE, "the scale itself is trained"),
        **dict.fromkeys(_SEARCH, "it steers the automatic search of bit widths, which is not available"),
    }

    preset: Literal["performance", "mixed", "auto"] = "performance"
    """``performance`` (default): symmetric weights and activations; ``mixed``: asymmetric activations; ``auto``: of each
    activation the data decide, asymmetric where the steps of the grid become finer by an eighth or more.
    """
    quantize_inputs: bool = True
    """Quantize the inputs of the model. Default True."""
    quantize_outputs: bool = False
    """Quantize the outputs of the model. Default False."""
    overflow_fix: Literal["enable", "disable", "first_layer_only"] = "disable"
    """``disable`` (default), ``enable`` or ``first_layer_only``: weights use half of their 8-bit range, which only
    helps CPUs that have AVX2 or AVX-512 but no VNNI.
    """
    weights: GroupSettings = GroupSettings()
    """Settings of the quantizers of weights."""
    activations: GroupSettings = GroupSettings()
    """Settings of the quantizers of activations."""
    scope_overrides: ScopeOverrides = ScopeOverrides()
    """Settings by layer."""
    initializer: QuantizerInit = QuantizerInit()
    """Ranges, batch-norm adaptation, bits by layer."""
    params: dict[str, Any] = Field(default_factory=dict)
    """The staged schedule of other frameworks; accepted, without effect."""
    export_to_onnx_standard_ops: bool | None = None
    """Accepted for other frameworks, without effect."""

    def prepare(self, snapshot: ModelSnapshot, context: PlanContext) -> ModelSnapshot:
        scope = self.scope(context)
        split = split_separable(snapshot, lambda path: path in scope)
        return prepared_for(context.target_runtimes, split, lambda path: path in scope)

    def plan(self, graph: ModelGraph, context: PlanContext) -> Plan:
        scope = self.checked_scope(graph, context)
        if self.validate_scopes:
            self._check_scopes([path for path, _ in graph.layers()])
        weights = plan_weights(self, graph, context, self._weight_quantizers(graph, context))
        edits = (*weights.edits, *self._plan_activations(graph, scope, context))
        runtimes = context.target_runtimes
        return dataclasses.replace(weights, edits=with_quantized_outputs(runtimes, graph.snapshot, edits))

    def _check_scopes(self, paths: Sequence[str]) -> None:
        """Raise a ConfigError for a scope anywhere in the sections that names no layer."""
        for key in ("weights", "activations"):
            group = getattr(self, key)
            Scope(group.ignored_scopes, group.target_scopes).check(paths)
            matching(getattr(self.scope_overrides, key), paths, f"scope_overrides.{key}")
        for initializer in self.initializer.range:
            Scope(initializer.ignored_scopes, initializer.target_scopes).check(paths)
        bitwidths = self.initializer.precision.bitwidth_per_scope
        matching((scope for _, scope in bitwidths), paths, "initializer.precision.bitwidth_per_scope")
        unified = (scope for names in self.activations.unified_scale_ops for scope in names)
        matching(unified, paths, "activations.unified_scale_ops")

    def _weight_quantizers(
        self, graph: ModelGraph, context: PlanContext
    ) -> Callable[[CompressibleWeight], FakeQuantize | str]:
        """Return what makes the quantizer of a weight, or says why there is none."""
        group = Scope(self.weights.ignored_scopes, self.weights.target_scopes)
        preprocessing = self._preprocessing(graph, context)
        first = first_compute_layers(graph) if self.overflow_fix == "first_layer_only" else set()

        def make_op(weight: CompressibleWeight) -> FakeQuantize | str:
            if weight.layer in context.binary_layers:
                return "its weights are binary"
            if weight.layer not in group:
                return OUTSIDE
            if weight.layer in preprocessing:
                return PREPROCESSING
            settings = self._settings("weights", weight.layer)
            per_channel = settings.per_channel
            if per_channel is None:
                per_channel = context.target_device != "TRIAL"
            half = settings.bits == 8 and (self.overflow_fix == "enable" or weight.layer in first)
            return new_quantizer(
                weight.op_name("quantizer"),
                settings,
                narrow_range=settings.mode == "symmetric" and settings.signed is not False,
                channel_axes=weight.spec.channel_axes if per_channel else None,
                half_range=half and context.target_device in ("ANY", "CPU", "TRIAL"),
            )

        return make_op

    def _plan_activations(self, graph: ModelGraph, scope: Scope, context: PlanContext) -> list[InsertLayer]:
        group = Scope(self.activations.ignored_scopes, self.activations.target_scopes)

        def in_integers(node: GraphNode) -> bool:
            runs_in_integers = node.spec.role in (LayerRole.COMPUTE, LayerRole.MERGE)
            path = node.ref.layer
            return runs_in_integers and path in scope and path in group and path not in context.binary_layers

        preprocessing = self._preprocessing(graph, context)
        points = quantization_points(graph, in_integers, outputs=self.quantize_outputs, preprocessing=preprocessing)
        points = [point for source in [self._allowed(graph, point) for point in points] for point in source]
        points = joined_by_configuration(points, self.activations.unified_scale_ops)
        if context.target_device == "NPU":
            points = joined_operands(graph, points)
        if self.validate_scopes:
            quantized = (source.layer for point in points for source in point.sources)
            require_quantizers(self.scope_overrides.activations, quantized, (path for path, _ in graph.layers()))
        return plan_activations(
            graph, points, lambda point, name: self._activation_quantizer(graph, point, name, context), "quantizer"
        )

    def _preprocessing(self, graph: ModelGraph, context: PlanContext) -> frozenset[str]:
        """Return the frozen layers that stay in floating point as signal processing, but for those that a scope asks for."""
        asked = (self.scope(context).target, self.weights.target_scopes)
        patterns = [pattern for scopes in asked for pattern in scopes or ()]
        return frozen_preprocessing(graph, lambda path: not any(matches(pattern, path) for pattern in patterns))

    def _activation_quantizer(
        self, graph: ModelGraph, point: QuantizationPoint, name: str, context: PlanContext
    ) -> FakeQuantize:
        settings = self._settings("activations", point.sources[0].layer)
        if "tensorrt" in context.target_runtimes and not self._mode_is_chosen(point.sources[0].layer):
            settings = settings.model_copy(update={"mode": "symmetric", "signed": True})  # its only grid
        # The range of 8 bits over data is that of the data: to train it would take a backward pass through the first
        # layer.
        fixed = settings.bits == 8 and all(_is_data(graph, source) for source in point.sources)
        axes = (channel_axis(graph, point.sources, point.consumers),) if settings.per_channel else None
        ends = fixed_range(self.scope_overrides.activations, point)
        if ends is not None:
            layer = point.sources[0].layer
            chosen = self._mode_is_chosen(layer)
            return fixed_quantizer(name, settings, ends, layer, chosen_mode=chosen, channel_axes=axes)
        bounds = [graph.producer(source).spec.activation.bounds for source in point.sources]
        if (
            self.preset == "auto"
            and all(low >= 0 for low, _ in bounds)
            and not self._mode_is_chosen(point.sources[0].layer)
        ):
            settings = settings.model_copy(update={"mode": "symmetric"})  # from zero on, as the asymmetric one would be
        return new_quantizer(name, settings, bounds, channel_axes=axes, trainable=not fixed)

    def _allowed(self, graph: ModelGraph, point: QuantizationPoint) -> list[QuantizationPoint]:
        """Leave out what cannot be quantized: integer inputs, and the inputs of the model if so configured."""

        def allowed(tensor: TensorRef) -> bool:
            producer = graph.producer(tensor)
            if producer.class_name != "InputLayer":
                return True
            is_float = str(producer.config.get("dtype", "float32")).startswith(("float", "bfloat"))
            return is_float and (self.quantize_inputs or not graph.is_model_input(tensor))

        sources = tuple(source for source in point.sources if allowed(source))
        return [QuantizationPoint(sources, point.consumers)] if sources else []

    def _settings(self, group: Literal["weights", "activations"], path: str) -> QuantizerSettings:
        """Return the settings of one quantizer: the preset, then the group, then bits by scope, then overrides."""
        asymmetric = self.preset != "performance" and group == "activations"
        merged: dict[str, Any] = {"mode": "asymmetric" if asymmetric else "symmetric", "bits": 8}
        keys = set(QuantizerSettings.model_fields)
        overrides = getattr(self.scope_overrides, group)
        merged.update(getattr(self, group).model_dump(include=keys, exclude_none=True))
        for bits, scope in self.initializer.precision.bitwidth_per_scope:
            if matches(scope, path):
                merged["bits"] = bits
        for scope, override in overrides.items():
            if matches(scope, path):
                merged.update(override.model_dump(include=keys, exclude_none=True))
        return QuantizerSettings(**merged)

    def _data_decide_mode(self, bound: BoundOp) -> bool:
        """Return whether the measured range of an asymmetric quantizer is made symmetric where that costs little."""
        asymmetric = isinstance(bound.op, AsymmetricFakeQuantize)
        return self.preset == "auto" and asymmetric and not any(map(self._mode_is_chosen, bound.sources))

    def _mode_is_chosen(self, path: str) -> bool:
        """Return whether the mode of the quantizer behind a layer is chosen by more than the preset."""
        overrides = self.scope_overrides.activations.items()
        chosen = [override.mode for scope, override in overrides if matches(scope, path)]
        return any(mode is not None for mode in (self.activations.mode, *chosen))

    def _range_initializer(self, group: Literal["weights", "activations"], path: str) -> RangeInitializer:
        for scope, override in getattr(self.scope_overrides, group).items():
            if override.initializer.range is not None and matches(scope, path):
                return override.initializer.range
        for candidate in self.initializer.range:
            if candidate.target_quantizer_group in (None, group) and path in Scope(
                candidate.ignored_scopes, candidate.target_scopes
            ):
                return candidate
        return RangeInitializer()

    def initialize(self, ops: Sequence[BoundOp], model: keras.Model, data: Dataset | None) -> bool:
        for bound in ops:
            if bound.variable is not None:
                calibrate_weight(bound.op, bound.variable.numpy(), self._range_initializer("weights", bound.layer))
        measured = _measured(ops)
        if data is None:
            unmeasured = len(measured)
        else:
            unmeasured = sum(not self._activation_initializer(bound).num_init_samples for bound in measured)
        if unmeasured:
            warnings.warn(
                f"{unmeasured} activation quantizers have no measured range, because no data were given. Pass some: "
                'config = kc.register_default_init_args(config, train_dataset), with "num_init_samples" above 0.',
                stacklevel=2,
            )
        return True

    def collectors(self, ops: Sequence[BoundOp]) -> list[StatisticsCollector]:
        initializers = {bound: self._activation_initializer(bound) for bound in _measured(ops)}
        measured = {
            bound.op: Measurement(how, len(bound.sources), bound.sources, self._data_decide_mode(bound))
            for bound, how in initializers.items()
            if how.num_init_samples
        }
        return [ActivationRanges(measured, [bound.op for bound in ops])] if measured else []

    def calibration_samples(self, ops: Sequence[BoundOp]) -> int:
        return max((self._activation_initializer(bound).num_init_samples for bound in _measured(ops)), default=0)

    def output_initializer(self, layer: str) -> RangeInitializer:
        return self._range_initializer("activations", layer)

    def _activation_initializer(self, bound: BoundOp) -> RangeInitializer:
        return self._range_initializer("activations", bound.sources[0])

    @property
    def batch_norm_adaptation(self) -> BatchNormAdaptation:
        return self.initializer.batchnorm_adaptation

    @property
    def corrects_biases(self) -> bool:
        return self.initializer.bias_correction

    def statistics(self, ops: Sequence[BoundOp]) -> dict[str, float]:
        activations = [bound.op for bound in ops if bound.weight is None]
        ends = [float(op.range()[1].numpy().max()) for op in activations]
        found = {"mean_activation_range": sum(ends) / len(ends)} if ends else {}
        return {**found, "asymmetric_activations": count_asymmetric(activations)} if self.preset == "auto" else found


def _measured(ops: Sequence[BoundOp]) -> list[BoundOp]:
    """Return the quantizers of activations whose ranges are measured."""
    return [bound for bound in ops if bound.variable is None and bound.op.fixed_range is None]


def _is_data(graph: ModelGraph, tensor: TensorRef) -> bool:
    """Return whether a tensor is an input of the model, or one whose values were only scaled."""
    producer = graph.producer(tensor)
    if producer.spec.scales_data:
        return all(_is_data(graph, source) for source in producer.inputs)
    return graph.is_model_input(tensor)
