"""CompressionStatistics: which weights and activations are compressed and how, which stay in floating point and why."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from keras_compress._keras import keras
from keras_compress.algorithms import SkippedWeight
from keras_compress.graph import spec_of
from keras_compress.graph.variables import leaf_layers, named_variables
from keras_compress.layers import CompressedLayer, FakeQuantize, SymmetricFakeQuantize
from keras_compress.report.table import format_table

__all__ = ["CompressionStatistics", "FloatWeight", "QuantizerRow", "collect_statistics"]


@dataclass(frozen=True)
class QuantizerRow:
    """One quantizer: ``weight`` is None for an activation; ``ranges`` is 1, or the number of channels."""

    layer: str
    weight: str | None
    bits: int
    mode: str
    ranges: int
    signed: bool
    parameters: int


@dataclass(frozen=True)
class FloatWeight:
    """A weight that stays in floating point, and why."""

    layer: str
    weight: str
    parameters: int
    reason: str


@dataclass(frozen=True)
class CompressionStatistics:
    """What a compressed model consists of. ``print`` shows it as tables.

    Attributes:
        stage: name of the compression stage.
        quantizers: one row per quantizer, in the order of the model.
        float_weights: weights of rank 2 or more that are not compressed.
        numbers: what each algorithm reports, by its name.
    """

    stage: str
    quantizers: tuple[QuantizerRow, ...]
    float_weights: tuple[FloatWeight, ...]
    numbers: dict[str, dict[str, float]]

    @property
    def compressed_share(self) -> float:
        """Share of the parameters in weights of rank 2 or more that are compressed, in [0, 1]."""
        compressed = sum({(row.layer, row.weight): row.parameters for row in self.quantizers if row.weight}.values())
        total = compressed + sum(row.parameters for row in self.float_weights)
        return compressed / total if total else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as JSON-able values."""
        return {**asdict(self), "compressed_share": self.compressed_share}

    def to_str(self) -> str:
        """Return the statistics as tables."""
        rows = [
            [
                row.layer,
                row.weight or "(activation)",
                row.bits,
                row.mode,
                "signed" if row.signed else "unsigned",
                row.ranges,
            ]
            for row in self.quantizers
        ]
        parts = [
            f"compression stage: {self.stage}; {self.compressed_share:.1%} of the weights are compressed",
            format_table(["layer", "weight", "bits", "mode", "sign", "ranges"], rows),
        ]
        if self.float_weights:
            left = [[row.layer, row.weight, row.parameters, row.reason] for row in self.float_weights]
            parts += ["left in floating point:", format_table(["layer", "weight", "parameters", "reason"], left)]
        for name, numbers in self.numbers.items():
            if numbers:
                parts.append(f"{name}: " + ", ".join(f"{key} {value:g}" for key, value in numbers.items()))
        return "\n\n".join(parts)

    def __str__(self) -> str:
        return self.to_str()

    def __iter__(self) -> Iterator[tuple[str, dict[str, float]]]:
        return iter(self.numbers.items())


def collect_statistics(
    model: keras.Model, skipped: Iterable[SkippedWeight], numbers: dict[str, dict[str, float]], stage: str
) -> CompressionStatistics:
    """Read the statistics off a living compressed model.

    Args:
        model: the compressed model.
        skipped: weights that an algorithm could have compressed and left alone, with the reason.
        numbers: what each algorithm reports.
        stage: name of the compression stage.
    """
    reasons = {(weight.layer, weight.weight): weight.reason for weight in skipped}
    quantizers: list[QuantizerRow] = []
    left: list[FloatWeight] = []
    for path, layer in leaf_layers(model):
        if isinstance(layer, FakeQuantize):
            quantizers.append(_row(layer, path, None, 0))
            continue
        operations = layer.operations if isinstance(layer, CompressedLayer) else []
        inner = layer.layer if isinstance(layer, CompressedLayer) else layer
        variables = named_variables(inner)
        for weight, op in operations:
            if isinstance(op, FakeQuantize):
                quantizers.append(_row(op, path, weight, math.prod(variables[weight].shape)))
        for name in variables.keys() - {weight for weight, _ in operations}:
            if variables[name].shape.rank >= 2:
                reason = reasons.get((path, name)) or _default_reason(inner)
                left.append(FloatWeight(path, name, math.prod(variables[name].shape), reason))
    return CompressionStatistics(stage, tuple(quantizers), tuple(sorted(left, key=lambda row: row.layer)), numbers)


def _row(op: FakeQuantize, layer: str, weight: str | None, parameters: int) -> QuantizerRow:
    symmetric = isinstance(op, SymmetricFakeQuantize)
    signed = bool(op.signed.numpy()) if symmetric else bool((op.range()[0].numpy() < 0).any())
    mode = "symmetric" if symmetric else "asymmetric"
    return QuantizerRow(layer, weight, op.num_bits, mode, math.prod(op.range_variable_shape), signed, parameters)


def _default_reason(layer: keras.layers.Layer) -> str:
    name = type(layer).__name__
    if spec_of(name).weights:
        return "this weight of the layer is not compressed"
    return f"no rule for layers of class {name}; add one with register_layer_spec"
