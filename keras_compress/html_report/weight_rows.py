"""Weights of a compressed model, one row each: bits, zeros, range, error, and whether the layer computes with integers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keras_compress._keras import keras
from keras_compress.graph.variables import leaf_layers, named_variables
from keras_compress.html_report.charts import Histogram, histogram_of
from keras_compress.html_report.compute_precision import FLOAT, ComputePrecision
from keras_compress.layers import CompressedLayer, FakeQuantize, Stage, WeightOp
from keras_compress.numerics import decibels

__all__ = ["WeightRow", "weight_rows"]


@dataclass(frozen=True)
class WeightRow:
    """A weight of rank 2 or more that is no bias.

    Attributes:
        layer, class_name, weight: path and class of the layer, dotted path of the weight.
        shape: of the weight.
        bits: of its grid; 1 if it is binary, 32 without a grid.
        zeros: share of zeros as inference sees them, in [0, 1].
        low, high: lowest and highest level of its grid over all channels; without a quantizer its extremes.
        sqnr: signal-to-quantization-noise ratio of the quantized weight against the float weight with the same zeros,
            in dB; None without a grid.
        computes_in: ``"integers"``, ``"one bit"`` or ``"floating point"``.
        reason: why in floating point; empty otherwise.
        histogram: values before and after compression; None for a weight nothing compresses.
    """

    layer: str
    class_name: str
    weight: str
    shape: tuple[int, ...]
    bits: int
    zeros: float
    low: float
    high: float
    sqnr: float | None
    computes_in: str
    reason: str
    histogram: Histogram | None

    @property
    def parameters(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def weight_rows(model: keras.Model, reasons: Mapping[tuple[str, str], str] | None = None) -> tuple[WeightRow, ...]:
    """Return the weights of a model in its order.

    Args:
        model: compressed or plain; it is only read.
        reasons: why a weight, by path of layer and weight, is not computed with in integers. Default: what the model
            tells.
    """
    arithmetic = ComputePrecision(model)
    rows = []
    for path, layer in leaf_layers(model):
        inner = layer.layer if isinstance(layer, CompressedLayer) else layer
        for weight, before, after, operations in _weights(layer):
            computes_in, reason = arithmetic.of(path, inner, operations)
            given = (reasons or {}).get((path, weight))
            if given:
                computes_in, reason = FLOAT, given
            bits = min((op.value_bits for op in operations), default=32)
            low, high = _range(after, operations)
            rows.append(
                WeightRow(
                    layer=path,
                    class_name=type(inner).__name__,
                    weight=weight,
                    shape=before.shape,
                    bits=bits,
                    zeros=float(np.mean(after == 0)) if after.size else 0.0,
                    low=low,
                    high=high,
                    sqnr=None if bits == 32 else _sqnr(before, after, operations),
                    computes_in=computes_in,
                    reason=reason,
                    histogram=histogram_of(before, after) if operations else None,
                )
            )
    return tuple(rows)


def _weights(layer: keras.layers.Layer) -> Iterator[tuple[str, np.ndarray, np.ndarray, list[WeightOp]]]:
    """Yield every weight of a layer with its float values, those of inference, and the operations between."""
    if isinstance(layer, WeightOp):
        return
    compressed = isinstance(layer, CompressedLayer)
    for weight, variable in named_variables(layer.layer if compressed else layer).items():
        matrix = variable.shape.rank is not None and variable.shape.rank >= 2 and variable.dtype.is_floating
        if matrix and not weight.endswith("bias"):
            before = np.asarray(variable.numpy(), np.float32)
            operations = [op for path, op in layer.operations if path == weight] if compressed else []
            yield weight, before, layer.compressed_weight(weight).numpy() if operations else before, operations


def _range(values: np.ndarray, operations: Sequence[WeightOp]) -> tuple[float, float]:
    for op in operations:
        if isinstance(op, FakeQuantize):
            low, high = (end.numpy() for end in op.range())
            return float(low.min()), float(high.max())
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def _sqnr(before: np.ndarray, after: np.ndarray, operations: Sequence[WeightOp]) -> float:
    """Return the signal-to-quantization-noise ratio of a weight, against the masked float weight."""
    for op in operations:
        if op.stage is Stage.MASK:
            before = op(before).numpy()
    signal = float(np.sum(np.square(before, dtype=np.float64)))
    error = float(np.sum(np.square(np.subtract(after, before, dtype=np.float64))))
    return decibels(error / signal if signal else 0.0)
