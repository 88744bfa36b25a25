"""CompressionStatistics: which weights and activations are compressed and how, which stay in floating point and why."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from keras_compress._keras import keras
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer, FakeQuantize, SymmetricFakeQuantize
from keras_compress.report.coverage import Coverage
from keras_compress.report.table import format_table

__all__ = ["CompressionStatistics", "QuantizerRow", "collect_statistics"]


@dataclass(frozen=True)
class QuantizerRow:
    """One quantizer: ``weight`` is None for an activation; ``ranges`` is 1, or the number of channels."""

    layer: str
    weight: str | None
    bits: int
    mode: str
    ranges: int
    signed: bool


@dataclass(frozen=True)
class CompressionStatistics:
    """What a compressed model consists of. ``print`` shows it as tables.

    Attributes:
        stage: name of the compression stage.
        quantizers: one row per quantizer, in the order of the model.
        coverage: for every weight by what it is compressed, or why it is not.
        numbers: what each algorithm reports, by its name.
    """

    stage: str
    quantizers: tuple[QuantizerRow, ...]
    coverage: Coverage
    numbers: dict[str, dict[str, float]]

    @property
    def compressed_share(self) -> float:
        """Share of the parameters in weights of rank 2 or more that are compressed, in [0, 1]."""
        return self.coverage.compressed_share

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as JSON-able values."""
        return {
            "stage": self.stage,
            "quantizers": [asdict(row) for row in self.quantizers],
            "numbers": self.numbers,
            **self.coverage.to_dict(),
        }

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
        noted = [[row.layer, row.weight, row.parameters, row.reason] for row in self.coverage if row.reason]
        if noted:
            parts += ["what stays in floating point:", format_table(["layer", "weight", "parameters", "why"], noted)]
        for name, numbers in self.numbers.items():
            if numbers:
                parts.append(f"{name}: " + ", ".join(f"{key} {value:g}" for key, value in numbers.items()))
        return "\n\n".join(parts)

    def __str__(self) -> str:
        return self.to_str()

    def __iter__(self) -> Iterator[tuple[str, dict[str, float]]]:
        return iter(self.numbers.items())


def collect_statistics(
    model: keras.Model, coverage: Coverage, numbers: dict[str, dict[str, float]], stage: str
) -> CompressionStatistics:
    """Read the statistics off a living compressed model.

    Args:
        model: the compressed model.
        coverage: of its weights.
        numbers: what each algorithm reports.
        stage: name of the compression stage.
    """
    quantizers: list[QuantizerRow] = []
    for path, layer in leaf_layers(model):
        if isinstance(layer, FakeQuantize):
            quantizers.append(_row(layer, path, None))
        elif isinstance(layer, CompressedLayer):
            quantizers += [_row(op, path, weight) for weight, op in layer.operations if isinstance(op, FakeQuantize)]
    return CompressionStatistics(stage, tuple(quantizers), coverage, numbers)


def _row(op: FakeQuantize, layer: str, weight: str | None) -> QuantizerRow:
    symmetric = isinstance(op, SymmetricFakeQuantize)
    signed = bool(op.signed.numpy()) if symmetric else bool((op.range()[0].numpy() < 0).any())
    mode = "symmetric" if symmetric else "asymmetric"
    return QuantizerRow(layer, weight, op.num_bits, mode, math.prod(op.range_variable_shape), signed)
