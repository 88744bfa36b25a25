"""The first numbers of a compressed model: from its weights, from one pass over data, and from corrections on data.

Training and post-training quantization start here, with the same numbers; only the corrections differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from keras_compress._keras import keras
from keras_compress.algorithms import BoundOp, CompressionAlgorithm
from keras_compress.calibration import (
    AdaptiveRounding,
    FastBiasCorrection,
    InputCheck,
    RangeInitializer,
    adapt_batch_norm,
    collect_statistics,
    correct_biases_in_sequence,
    corrected_layers,
    round_adaptively,
)
from keras_compress.calibration.calibration_record import CalibrationRecord, record_calibration
from keras_compress.data import Dataset
from keras_compress.distribution import broadcast_from_chief
from keras_compress.errors import UnsupportedModelError
from keras_compress.graph import ModelGraph, ModelSnapshot, build
from keras_compress.graph.batch_norm_fusion import bias_locations, linear_kernels
from keras_compress.graph.finite_numbers import refuse_not_finite, wrong_numbers
from keras_compress.layers import CalibratedOp, FakeQuantize

__all__ = ["Corrections", "adapt_to_changes", "initialize", "record_data", "share_numbers"]

Parts = Sequence[tuple[CompressionAlgorithm, Sequence[BoundOp]]]


@dataclass(frozen=True)
class Corrections:
    """What is corrected in addition to measuring ranges. Default: nothing.

    Attributes:
        bias: ``"fast"`` in the pass that measures ranges, ``"sequential"`` layer by layer, or None.
        rounding: how rounding is learned; None for rounding to the nearest. Learned rounding keeps the means of
            outputs, so that ``"fast"`` is left out with it.
        samples: how many samples biases and rounding are measured on.
    """

    bias: Literal["fast", "sequential"] | None = None
    rounding: AdaptiveRounding | None = None
    samples: int = 300


def initialize(
    parts: Parts,
    model: keras.Model,
    snapshot: ModelSnapshot,
    data: Dataset | None,
    corrections: Corrections | None = None,
) -> None:
    """Give all operations of a compressed model their first numbers.

    Args:
        parts: every algorithm with the operations it made.
        model: the compressed model.
        snapshot: the model that the edits were applied to, in floating point.
        data: samples to measure on; None leaves activations unmeasured and nothing corrected.
        corrections: what is corrected. Default: nothing.

    Raises:
        UnsupportedModelError: a weight is NaN, or a weight to compress is infinite.
        DataError: a layer computes numbers that are not finite.
    """
    corrections = corrections or Corrections()
    _require_finite_weights(parts, snapshot)
    parts = sorted(parts, key=lambda part: part[0].weight_stage)  # as they are applied to a weight
    changed = [algorithm for algorithm, ops in parts if algorithm.initialize(ops, model, data)]
    _require_finite_ranges(parts)
    if data is not None:
        _measure(parts, model, snapshot, data, corrections)
    adapt_to_changes(model, changed, data)


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
    parts: Parts, model: keras.Model, snapshot: ModelSnapshot, data: Dataset, corrections: Corrections
) -> None:
    """Measure in one pass over data what the algorithms ask for, then correct biases and rounding."""
    graph = ModelGraph(snapshot)
    correctable = corrected_layers(model, bias_locations(graph)) if corrections.bias else []
    collectors = [collector for algorithm, ops in parts for collector in algorithm.collectors(ops)]
    if corrections.bias == "fast" and corrections.rounding is None:
        collectors.append(FastBiasCorrection(correctable, corrections.samples))
    if any(collector.samples for collector in collectors):
        ranges = {
            bound.op: bound.sources
            for _, ops in parts
            for bound in ops
            if bound.weight is None and isinstance(bound.op, CalibratedOp)
        }
        collectors.append(InputCheck(model, graph, ranges, max(collector.samples for collector in collectors)))
    collect_statistics(model, collectors, data, "calibration")
    for collector in collectors:
        collector.assign()
    if (rounding := corrections.rounding) is not None:
        quantized = {bound.layer for _, ops in parts for bound in ops if _quantizes_weight(bound)}
        kernels = {path: weight for path, weight in linear_kernels(graph).items() if path in quantized}
        samples = rounding.num_samples or corrections.samples
        round_adaptively(model, build(snapshot), kernels, data, samples, rounding)
    if corrections.bias == "sequential":
        correct_biases_in_sequence(model, build(snapshot), correctable, data, corrections.samples)


def _quantizes_weight(bound: BoundOp) -> bool:
    return bound.weight is not None and isinstance(bound.op, FakeQuantize)


def share_numbers(model: keras.Model) -> None:
    """Give every worker of ``tf.distribute`` the numbers of the chief."""
    broadcast_from_chief(model.distribute_strategy, model.variables)


def record_data(parts: Parts, model: keras.Model, data: Dataset) -> None:
    """Keep the data of the calibration with a compressed model, for what only files need and for their audits.

    Args:
        parts: the algorithms and their operations, which say how many samples they were measured on.
        model: the compressed model.
        data: the samples.
    """
    algorithms = [algorithm for algorithm, _ in parts]

    def initializer(layer: str) -> RangeInitializer:
        found = (algorithm.output_initializer(layer) for algorithm in algorithms)
        return next((one for one in found if one is not None), RangeInitializer())

    samples = max((algorithm.calibration_samples(ops) for algorithm, ops in parts), default=0)
    record_calibration(model, CalibrationRecord(data, samples, initializer))


def adapt_to_changes(model: keras.Model, changed: Iterable[CompressionAlgorithm], data: Dataset | None) -> None:
    """Adapt batch normalization to what some algorithms have changed, once, on as many samples as any of them asks for.

    Args:
        model: the compressed model.
        changed: the algorithms.
        data: samples; without any nothing is done.
    """
    samples = max((a.batch_norm_adaptation.num_bn_adaptation_samples for a in changed), default=0)
    if samples and data is not None:
        adapt_batch_norm(model, data, samples)
