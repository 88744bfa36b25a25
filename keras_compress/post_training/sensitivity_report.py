"""SensitivityReport: the numbers of each quantized layer, as a table, a file or a picture."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from keras_compress.arguments import checked_path
from keras_compress.errors import ExportError
from keras_compress.files import write_file
from keras_compress.plots import plot_sensitivity
from keras_compress.reports.formatting import JsonReport, decibels_text, format_table, json_values

__all__ = ["LayerSensitivity", "SensitivityReport"]


@dataclass(frozen=True)
class LayerSensitivity:
    """One quantized layer. All ratios are of signal to quantization error, in dB; low is bad, infinite is no error.

    Attributes:
        layer: its path.
        bits: of its weights, or of its inputs if it has none.
        parameters: number of its weights.
        sqnr: at the output of the layer, the whole model being quantized; errors of the layers before it included.
        only_one: at the outputs of the model when no other layer is quantized; None if it was not measured.
        leave_one_out: at the outputs of the model when all other layers are quantized; None if it was not measured.
        damage: share of this layer in the errors that all layers cause one by one, in [0, 1]; None if not measured.
    """

    layer: str
    bits: int
    parameters: int
    sqnr: float
    only_one: float | None = None
    leave_one_out: float | None = None
    damage: float | None = None


@dataclass(frozen=True)
class SensitivityReport(JsonReport):
    """What quantization does to the layers of a model. ``print`` shows a table, the worst layer first.

    Attributes:
        rows: the layers, the one that does most damage first.
        sqnr: signal to quantization error at the outputs of the quantized model, in dB.
        samples: number of samples it was measured on.
    """

    rows: tuple[LayerSensitivity, ...]
    sqnr: float
    samples: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values; an infinite ratio is None."""
        rows = [asdict(row) for row in self.rows]
        return json_values({"sqnr": self.sqnr, "samples": self.samples, "layers": rows})

    def save(self, path: str | Path) -> Path:
        """Write the report, as CSV if the path ends in ``.csv``, else as JSON."""
        path = checked_path("path", path, ExportError)
        if path.suffix.lower() != ".csv":
            return super().save(path)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, [field.name for field in fields(LayerSensitivity)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        return write_file(path, text.getvalue())

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw a bar per layer, the worst on top, and save the picture if a path is given; needs matplotlib."""
        measured = all(row.only_one is not None for row in self.rows)
        ratios = [row.sqnr if row.only_one is None else row.only_one for row in self.rows]
        title = "Outputs of the model, one layer quantized" if measured else "Outputs of the layers"
        return plot_sensitivity([row.layer for row in self.rows], ratios, title, path)

    def __str__(self) -> str:
        header = ["layer", "bits", "parameters", "SQNR of layer", "only this", "all but this", "damage"]
        rows = [
            [
                *(row.layer, row.bits, row.parameters, decibels_text(row.sqnr)),
                *(decibels_text(row.only_one), decibels_text(row.leave_one_out)),
                "" if row.damage is None else f"{row.damage:.1%}",
            ]
            for row in self.rows
        ]
        outputs = f"outputs of the quantized model: {decibels_text(self.sqnr)} on {self.samples} samples"
        return f"{outputs}\n\n{format_table(header, rows)}" if rows else outputs
