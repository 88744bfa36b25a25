"""CompressionStatistics: which weights and activations are compressed and how, which stay in floating point and why."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from keras_compress._keras import keras
from keras_compress.calibration.calibration_record import calibration_of
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer, FakeQuantize, SparsityMask, SymmetricFakeQuantize
from keras_compress.nncf_names import NamesOfNNCF
from keras_compress.reports.coverage import Coverage
from keras_compress.reports.formatting import format_table
from keras_compress.reports.model_size import ModelSize, measure_size
from keras_compress.reports.operations import OperationRow, count_operations

__all__ = ["CompressionStatistics", "QuantizerRow", "SparsityRow", "collect_statistics"]

SPARSITY_NOTE = (
    "Zeros make a file smaller only where it is packed or stored sparsely, and nothing faster where a runtime multiplies "
    "dense matrices, as TensorFlow, ONNX Runtime and, by default, OpenVINO do. OpenVINO on processors with AMX can use them "
    "in INT8 matrix products: set CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE, for levels above it (0.8 or so)."
)


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
class SparsityRow:
    """One weight with a mask: ``level`` is the share of zeros in [0, 1], ``kept`` the number of weights that are not."""

    layer: str
    weight: str
    parameters: int
    kept: int
    level: float


@dataclass(frozen=True)
class CompressionStatistics(NamesOfNNCF):
    """What a compressed model consists of. ``print`` shows it as tables.

    Attributes:
        stage: name of the compression stage.
        quantizers: one row per quantizer, in the order of the model.
        sparsity: one row per weight with a mask, counted from the weights as the forward pass sees them.
        operations: one row per convolution and matrix product.
        size: bytes of the weights; None if only what is quick was asked for.
        coverage: for every weight by what it is compressed, or why it is not.
        numbers: what each algorithm reports, by its name.
        calibration: what was corrected before training, and what it did to the outputs; empty for a model that was loaded.
    """

    nncf_name: ClassVar[str] = "statistics"

    stage: str
    quantizers: tuple[QuantizerRow, ...]
    sparsity: tuple[SparsityRow, ...]
    operations: tuple[OperationRow, ...]
    size: ModelSize | None
    coverage: Coverage
    numbers: dict[str, dict[str, float]]
    calibration: tuple[str, ...] = ()

    @property
    def compressed_share(self) -> float:
        """Share of the parameters in weights of rank 2 or more that are compressed, in [0, 1]."""
        return self.coverage.compressed_share

    @property
    def sparsity_level(self) -> float:
        """Share of zeros in all weights that have a mask, in [0, 1]; 0 without masks."""
        parameters = sum(row.parameters for row in self.sparsity)
        return 1.0 - sum(row.kept for row in self.sparsity) / parameters if parameters else 0.0

    def operations_by_bits(self) -> dict[int, float]:
        """Return the share of the multiply-accumulates by the bits of their weights, fewest first; 32 is float."""
        total = sum(row.multiply_accumulates for row in self.operations)
        shares: dict[int, float] = {}
        for row in sorted(self.operations, key=lambda row: row.bits):
            shares[row.bits] = shares.get(row.bits, 0.0) + row.multiply_accumulates / max(total, 1)
        return shares

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as JSON-able values."""
        return {
            "stage": self.stage,
            "quantizers": [asdict(row) for row in self.quantizers],
            "sparsity": [asdict(row) for row in self.sparsity],
            "sparsity_level": self.sparsity_level,
            "operations": [asdict(row) for row in self.operations],
            "size": None if self.size is None else asdict(self.size),
            "numbers": self.numbers,
            "calibration": list(self.calibration),
            **self.coverage.to_dict(),
        }

    def to_str(self) -> str:
        """Return the statistics as tables."""
        parts = [f"compression stage: {self.stage}; {self.compressed_share:.1%} of the weights are compressed"]
        if self.operations:
            parts.append(self._operations_text())
        if self.quantizers:
            parts.append(self._quantizer_table())
        if self.sparsity:
            parts.append(self.sparsity_table())
        if self.size is not None:
            parts.append(str(self.size))
            if self.sparsity:
                parts.append(SPARSITY_NOTE)
        noted = [[row.layer, row.weight, row.parameters, row.reason] for row in self.coverage if row.reason]
        if noted:
            parts += ["what stays in floating point:", format_table(["layer", "weight", "parameters", "why"], noted)]
        if self.calibration:
            parts.append("\n".join(["calibration, signal over error of the outputs:", *self.calibration]))
        for name, numbers in self.numbers.items():
            if numbers:
                parts.append(f"{name}: " + ", ".join(f"{key} {value:g}" for key, value in numbers.items()))
        return "\n\n".join(parts)

    def sparsity_table(self) -> str:
        """Return the levels of the weights that have a mask, as a table."""
        rows = [[row.layer, row.weight, row.parameters, row.kept, f"{row.level:.2%}"] for row in self.sparsity]
        parameters, kept = (sum(getattr(row, key) for row in self.sparsity) for key in ("parameters", "kept"))
        rows.append(["(together)", "", parameters, kept, f"{self.sparsity_level:.2%}"])
        return format_table(["layer", "weight", "parameters", "kept", "zeros"], rows)

    def _operations_text(self) -> str:
        shares = ", ".join(
            f"{share:.1%} in {'floating point' if bits == 32 else f'{bits} bit' + 's' * (bits > 1)}"
            for bits, share in self.operations_by_bits().items()
        )
        binary = [[row.layer, row.multiply_accumulates] for row in self.operations if row.bits == 1]
        text = f"multiply-accumulates by the bits of their weights: {shares}"
        return text + ("\n\n" + format_table(["binary layer", "multiply-accumulates"], binary) if binary else "")

    def _quantizer_table(self) -> str:
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
        return format_table(["layer", "weight", "bits", "mode", "sign", "ranges"], rows)

    def __str__(self) -> str:
        return self.to_str()

    def __iter__(self) -> Iterator[tuple[str, dict[str, float]]]:
        return iter(self.numbers.items())


def collect_statistics(
    model: keras.Model, coverage: Coverage, numbers: dict[str, dict[str, float]], stage: str, *, quickly: bool = False
) -> CompressionStatistics:
    """Read the statistics of a live compressed model.

    Args:
        model: the compressed model.
        coverage: of its weights.
        numbers: what each algorithm reports.
        stage: name of the compression stage.
        quickly: leave out the size.
    """
    quantizers: list[QuantizerRow] = []
    sparsity: list[SparsityRow] = []
    for path, layer in leaf_layers(model):
        if isinstance(layer, FakeQuantize):
            quantizers.append(_row(layer, path, None))
        elif isinstance(layer, CompressedLayer):
            quantizers += [_row(op, path, weight) for weight, op in layer.operations if isinstance(op, FakeQuantize)]
            masked = {weight: op for weight, op in layer.operations if isinstance(op, SparsityMask)}
            sparsity += [_sparsity_row(layer, path, weight) for weight in masked]
    size = None if quickly else measure_size(model)
    operations = count_operations(model)
    record = calibration_of(model)
    remarks = () if record is None else record.remarks
    return CompressionStatistics(
        stage, tuple(quantizers), tuple(sparsity), operations, size, coverage, numbers, remarks
    )


def _sparsity_row(layer: CompressedLayer, path: str, weight: str) -> SparsityRow:
    values = layer.compressed_weight(weight).numpy()
    kept = int(np.count_nonzero(values))
    return SparsityRow(path, weight, values.size, kept, 1.0 - kept / values.size)


def _row(op: FakeQuantize, layer: str, weight: str | None) -> QuantizerRow:
    symmetric = isinstance(op, SymmetricFakeQuantize)
    signed = bool(op.signed.numpy()) if symmetric else bool((op.range()[0].numpy() < 0).any())
    mode = "symmetric" if symmetric else "asymmetric"
    return QuantizerRow(layer, weight, op.num_bits, mode, math.prod(op.range_variable_shape), signed)
