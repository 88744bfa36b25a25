"""AccuracyReport: what accuracy control found, layer by layer and evaluation by evaluation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from keras_compress.numerics import decibels
from keras_compress.reports.formatting import JsonReport, decibels_text, format_table, json_values

__all__ = ["AccuracyReport", "ControlledLayer", "Evaluation"]


@dataclass(frozen=True)
class ControlledLayer:
    """A layer that can be quantized.

    Attributes:
        layer: its path.
        in_float: whether it was returned to floating point.
        bits: of its weights, or of its inputs if it has none, when it is quantized.
        cost: error its quantization alone causes at the outputs: power of the error over power of the outputs; NaN if
            it was not measured, because no layer had to return.
        saved_bytes: bytes that quantization saves on its weights.
    """

    layer: str
    in_float: bool
    bits: int
    cost: float
    saved_bytes: int


@dataclass(frozen=True)
class Evaluation:
    """One call of ``validation_fn``.

    Attributes:
        float_layers: the layers that were in floating point; None for the original model.
        metric: what it returned.
        drop: below the original model, absolute or relative as asked for; negative if it is better.
        seconds: of this evaluation, export included; 0 if it was read from an earlier run.
    """

    float_layers: tuple[str, ...] | None
    metric: float
    drop: float
    seconds: float


@dataclass(frozen=True)
class AccuracyReport(JsonReport):
    """The result of accuracy control. ``print`` shows it as a table, the most costly layer first.

    Attributes:
        met: whether the drop is at most ``max_drop``.
        reason: why the search ended, in a sentence.
        max_drop: what was asked for.
        original, quantized, final: the metric of the original model, with all layers quantized, and of the result.
        drop: of the result.
        layers: what happened to each layer, the most costly first.
        evaluations: every call of ``validation_fn`` in order.
    """

    met: bool
    reason: str
    max_drop: float
    original: float
    quantized: float
    final: float
    drop: float
    layers: tuple[ControlledLayer, ...]
    evaluations: tuple[Evaluation, ...]

    @property
    def float_layers(self) -> tuple[str, ...]:
        """The layers that were returned to floating point."""
        return tuple(row.layer for row in self.layers if row.in_float)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values; what was not measured, or is infinite, is None."""
        return json_values(asdict(self))

    def __str__(self) -> str:
        outcome = "met" if self.met else "not met"
        parts = [
            f"Accuracy target {outcome}: {self.reason}",
            f"original {self.original:.6g}, all quantized {self.quantized:.6g}, result {self.final:.6g}; drop "
            f"{self.drop:.4g}, allowed {self.max_drop:.4g}; {len(self.float_layers)} of {len(self.layers)} layers in floating "
            f"point after {len(self.evaluations)} evaluations",
        ]
        rows = [
            [
                row.layer,
                "float" if row.in_float else f"{row.bits} bits",
                decibels_text(decibels(row.cost)),
                row.saved_bytes,
            ]
            for row in self.layers
        ]
        if rows:
            parts.append(format_table(["layer", "computes in", "outputs, only this quantized", "bytes saved"], rows))
        return "\n\n".join(parts)
