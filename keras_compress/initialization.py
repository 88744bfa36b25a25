"""The first numbers of a compressed model: from its weights, from one pass over data, and from corrections on data.

Training and post-training quantization start here, with the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from keras_compress._keras import keras
from keras_compress.algorithms import BoundOp, CompressionAlgorithm
from keras_compress.algorithms.target_runtime import rounds_biases
from keras_compress.calibration import (
    ActivationRanges,
    AdaptiveRounding,
    Correction,
    CorrectionTrial,
    CorrectionTrials,
    FastBiasCorrection,
    HeldOutSamples,
    InputCheck,
    RangeInitializer,
    StatisticsCollector,
    adapt_batch_norm,
    adaptable,
    collect_statistics,
    correct_biases_in_sequence,
    corrected_layers,
    hold_out,
    measure_untrained_statistics,
    put_back_statistics,
    round_adaptively,
)
from keras_compress.calibration.bias_correction import CorrectedLayer
from keras_compress.calibration.bias_grid import put_biases_on_grid
from keras_compress.calibration.calibration_record import CalibrationRecord, record_calibration
from keras_compress.data import Dataset, input_specs
from keras_compress.distribution import broadcast_from_chief
from keras_compress.errors import UnsupportedModelError
from keras_compress.graph import ModelGraph, ModelSnapshot, build
from keras_compress.graph.batch_norm_fusion import bias_locations, linear_kernels
from keras_compress.graph.finite_numbers import refuse_not_finite, wrong_numbers
from keras_compress.layers import CalibratedOp, FakeQuantize

__all__ = [
    "Corrections",
    "FirstNumbers",
    "adapt_to_changes",
    "initialize",
    "record_data",
    "round_biases",
    "share_numbers",
    "widen_ranges",
]

Parts = Sequence[tuple[CompressionAlgorithm, Sequence[BoundOp]]]

#: Statistics that were never trained are measured on so many samples at most, for ranges to stand on.
NEW_STATISTICS_SAMPLES = 512
#: Below this signal over error, in dB, adaptation of batch normalization is tried without being asked for.
FAR_FROM_FLOAT = 30.0
#: The name of the correction that makes ranges wide enough for all samples.
WIDE_RANGES = "ranges of activations that hold all samples"


@dataclass(frozen=True)
class Corrections:
    """What is corrected once ranges are measured. The defaults are those of training and of post-training quantization.

    Attributes:
        bias: ``"fast"`` (default) in the pass that measures ranges, ``"sequential"`` layer by layer, or None.
        rounding: how rounding is learned; None (default) for rounding to the nearest. Learned rounding keeps the means of
            outputs, so that ``"fast"`` is left out with it.
        samples: how many samples biases and rounding are measured on. Default 300.
        new_statistics: measure the statistics of batch normalization that were never trained. Default True; a network that
            will not be trained is taken as it is.
    """

    bias: Literal["fast", "sequential"] | None = "fast"
    rounding: AdaptiveRounding | None = None
    samples: int = 300
    new_statistics: bool = True


@dataclass(frozen=True)
class FirstNumbers:
    """What was done to give a model its first numbers.

    Attributes:
        remarks: what was corrected, and what it did to the outputs, a line each.
        wide_ranges: whether ranges of activations hold all samples, where that was tried.
    """

    remarks: tuple[str, ...] = ()
    wide_ranges: bool = False


def initialize(
    parts: Parts,
    model: keras.Model,
    snapshot: ModelSnapshot,
    data: Dataset | None,
    corrections: Corrections | None = None,
) -> FirstNumbers:
    """Give all operations of a compressed model their first numbers.

    Ranges are measured first. Each correction behind them stays only where the outputs come nearer to those of the float
    model on samples that took no part, or where the user asked for it.

    Args:
        parts: every algorithm with the operations it made.
        model: the compressed model.
        snapshot: the model that the edits were applied to, in floating point.
        data: samples to measure on; None leaves activations unmeasured and nothing corrected.
        corrections: what is tried. Default: what :class:`Corrections` says.

    Raises:
        UnsupportedModelError: a weight is NaN, or a weight to compress is infinite.
        DataError: a layer computes numbers that are not finite.
    """
    corrections = corrections or Corrections()
    _require_finite_weights(parts, snapshot)
    parts = sorted(parts, key=lambda part: part[0].weight_stage)  # as they are applied to a weight
    measures = data is not None and any(bound.weight is None for _, ops in parts for bound in ops)
    samples = min(_adaptation_samples([algorithm for algorithm, _ in parts]), NEW_STATISTICS_SAMPLES)
    untrained = (
        measure_untrained_statistics(model, data, samples)
        if data is not None and measures and samples and corrections.new_statistics
        else {}
    )
    changed = [algorithm for algorithm, ops in parts if algorithm.initialize(ops, model, data)]
    _require_finite_ranges(parts)
    if not changed:
        put_back_statistics(untrained)
    if data is None:
        return FirstNumbers()
    trials = _measure(parts, model, snapshot, data, corrections, changed)
    remarks = [str(trial) for trial in trials]
    if untrained and changed:
        remarks.insert(
            0,
            f"statistics of {len(untrained)} batch normalizations that were never trained: measured in floating point on up to "
            f"{samples} samples",
        )
    return FirstNumbers(tuple(remarks), any(trial.kept and trial.name == WIDE_RANGES for trial in trials))


def _require_finite_weights(parts: Parts, snapshot: ModelSnapshot) -> None:
    compressed = {(bound.layer, bound.weight) for _, ops in parts for bound in ops}
    for path, arrays in snapshot.weights.items():
        for name, array in arrays.items():
            found = wrong_numbers(path, name, array, infinite=(path, name) not in compressed)
            if found is not None:
                refuse_not_finite(found)


def _require_finite_ranges(parts: Parts) -> None:
    """Raise an error unless every quantizer of a weight has a range that float32 can compute with."""
    for _, ops in parts:
        for bound in ops:
            if bound.weight is None or not isinstance(bound.op, FakeQuantize):
                continue
            low, high = (np.asarray(end, np.float32) for end in bound.op.range())
            with np.errstate(over="ignore"):
                wrong = ~np.isfinite(high - low)
            if wrong.any():
                raise UnsupportedModelError(
                    f"The weight '{bound.weight}' of the layer '{bound.layer}' is too large for a quantizer: its range from "
                    f"{low.min():g} to {high.max():g} is wider than float32 can hold. Expected: weights of a trained model. Received: "
                    f"{int(wrong.sum())} such ranges of {wrong.size}. Take the weights from before the training diverged."
                )


def _measure(
    parts: Parts,
    model: keras.Model,
    snapshot: ModelSnapshot,
    data: Dataset,
    corrections: Corrections,
    changed: Sequence[CompressionAlgorithm],
) -> list[CorrectionTrial]:
    """Measure in one pass over data what the algorithms ask for, then try corrections; return what they did."""
    graph = ModelGraph(snapshot)
    collectors = [collector for algorithm, ops in parts for collector in algorithm.collectors(ops)]
    samples = max((collector.samples for collector in collectors), default=0)
    used = samples or corrections.samples
    held_out = hold_out(data, input_specs(model), used) if changed else None
    if samples:
        ranges = {
            bound.op: bound.sources
            for _, ops in parts
            for bound in ops
            if bound.weight is None and isinstance(bound.op, CalibratedOp)
        }
        collectors.append(InputCheck(model, graph, ranges, samples))
    planned: list[Correction] = []
    fast: list[FastBiasCorrection] = []
    if held_out is not None:
        counted = held_out.corrected_on(min(used, corrections.samples))
        correctable = _correctable(parts, model, graph) if corrections.bias else []
        if correctable and corrections.bias == "fast" and corrections.rounding is None:
            fast.append(FastBiasCorrection(correctable, counted))
        biases = [layer.bias for layer in correctable]
        planned += [Correction(f"biases corrected on {counted} samples", biases, part.assign) for part in fast]
        if (rounding := corrections.rounding) is not None:
            number = held_out.corrected_on(rounding.num_samples or corrections.samples)
            learn = partial(round_adaptively, model, build(snapshot), _kernels(parts, graph), data, number, rounding)
            planned.append(Correction(f"rounding learned on {number} samples", [], learn, asked_for=True))
        if correctable and corrections.bias == "sequential":
            correct = partial(correct_biases_in_sequence, model, build(snapshot), correctable, data, counted)
            planned.append(Correction(f"biases corrected layer by layer on {counted} samples", biases, correct))
        planned += _batch_norm_adaptation(model, changed, data, held_out)
    collect_statistics(model, [*collectors, *fast], data, "calibration")
    for collector in collectors:
        collector.assign()
    planned = [*_other_ranges(collectors), *planned]
    if held_out is None or not planned:
        return []
    trials = CorrectionTrials(model, held_out)
    for correction in planned:
        trials.attempt(correction)
    return trials.done


def _kernels(parts: Parts, graph: ModelGraph) -> dict[str, str]:
    """Return the path of the kernel of every linear layer that has a quantizer on it."""
    quantized = {(bound.layer, bound.weight) for _, ops in parts for bound in ops if _quantizes_weight(bound)}
    return {path: weight for path, weight in linear_kernels(graph).items() if (path, weight) in quantized}


def _correctable(parts: Parts, model: keras.Model, graph: ModelGraph) -> list[CorrectedLayer]:
    """Return the layers with a quantized kernel whose bias can be corrected."""
    kernels = _kernels([part for part in parts if part[0].corrects_biases], graph)
    return [layer for layer in corrected_layers(model, bias_locations(graph)) if layer.location.layer in kernels]


def _other_ranges(collectors: Iterable[StatisticsCollector]) -> list[Correction]:
    """Return the change to the other ranges that were measured in the same pass, if there are any."""
    found = [collector for collector in collectors if isinstance(collector, ActivationRanges)]
    variables = [variable for collector in found for op in collector.other_ranges() for variable in op.variables]
    return [Correction(WIDE_RANGES, variables, partial(widen_ranges, collectors))] if variables else []


def widen_ranges(collectors: Iterable[StatisticsCollector]) -> None:
    """Give quantizers the other ranges that collectors have measured."""
    for collector in collectors:
        if isinstance(collector, ActivationRanges):
            for quantizer, ends in collector.other_ranges().items():
                quantizer.set_range(*ends)


def _batch_norm_adaptation(
    model: keras.Model, changed: Sequence[CompressionAlgorithm], data: Dataset, held_out: HeldOutSamples
) -> list[Correction]:
    """Return the adaptation of batch normalization, unless the algorithms are told to leave it alone.

    Without being asked for it is only tried where the outputs are far from those in floating point: statistics of a sample have
    an error of their own, which a model close to its float model cannot gain from.
    """
    samples, layers = _adaptation_samples(changed), adaptable(model)
    if not samples or not layers:
        return []
    adaptations = [algorithm.batch_norm_adaptation for algorithm in changed]
    asked_for = any(
        how.num_bn_adaptation_samples and "num_bn_adaptation_samples" in how.model_fields_set for how in adaptations
    )
    statistics = [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]
    leave_out = range(0) if asked_for else held_out.positions
    adapt = partial(adapt_batch_norm, model, data, samples, leave_out=leave_out)
    name = f"batch normalization adapted on up to {samples} samples"
    return [Correction(name, statistics, adapt, asked_for, FAR_FROM_FLOAT)]


def _adaptation_samples(algorithms: Iterable[CompressionAlgorithm]) -> int:
    return max((a.batch_norm_adaptation.num_bn_adaptation_samples for a in algorithms), default=0)


def _quantizes_weight(bound: BoundOp) -> bool:
    return bound.weight is not None and isinstance(bound.op, FakeQuantize)


def round_biases(model: keras.Model, runtimes: Sequence[str]) -> None:
    """Put biases on the grid of the target runtimes, if one of them holds biases as integers."""
    if rounds_biases(runtimes):
        put_biases_on_grid(model)


def share_numbers(model: keras.Model) -> None:
    """Give every worker of ``tf.distribute`` the numbers of the chief."""
    broadcast_from_chief(model.distribute_strategy, model.variables)


def record_data(parts: Parts, model: keras.Model, data: Dataset, remarks: Sequence[str] = ()) -> None:
    """Keep the data of the calibration with a compressed model, for what only files need, for their audits and for reports.

    Args:
        parts: the algorithms and their operations, which say how many samples they were measured on.
        model: the compressed model.
        data: the samples.
        remarks: what was corrected, see :class:`FirstNumbers`. Default: nothing.
    """
    algorithms = [algorithm for algorithm, _ in parts]

    def initializer(layer: str) -> RangeInitializer:
        found = (algorithm.output_initializer(layer) for algorithm in algorithms)
        return next((one for one in found if one is not None), RangeInitializer())

    samples = max((algorithm.calibration_samples(ops) for algorithm, ops in parts), default=0)
    record_calibration(model, CalibrationRecord(data, samples, initializer, tuple(remarks)))


def adapt_to_changes(model: keras.Model, changed: Iterable[CompressionAlgorithm], data: Dataset | None) -> None:
    """Adapt batch normalization to what some algorithms have changed, once, on as many samples as any of them asks for.

    Args:
        model: the compressed model.
        changed: the algorithms.
        data: samples; without any nothing is done.
    """
    samples = _adaptation_samples(changed)
    if samples and data is not None:
        adapt_batch_norm(model, data, samples)
