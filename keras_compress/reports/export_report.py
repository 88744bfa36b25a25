"""ExportReport: the truth about an exported file, read back from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keras_compress.reports.formatting import JsonReport, decibels_text, format_table, json_values

__all__ = ["Comparison", "ExportReport", "FileTensor", "WeightAudit", "answer"]


@dataclass(frozen=True)
class WeightAudit:
    """One compressed weight, as the file holds it.

    Attributes:
        layer, weight: path of the layer in the Keras model and dotted path of the weight.
        parameters: number of its elements.
        bits: of its grid in the model; 1 if it is binary, 32 if only its zeros count.
        stored_as: type in the file, as ``"int8"``; empty if it was not found, ``"not needed"`` if no output needs it.
        size: bytes it takes in the file.
        levels: most values in one entry of an axis, for the axis where they are fewest, as the output channels.
        zeros: share of zeros, in [0, 1].
        input_quantized: whether the file lets the operation read integers; None where that has no meaning.
        runs_in_integers: whether the runtime that reads the file computes in integers; None if it was not asked.
        problem: what is wrong with it; empty if nothing is.
    """

    layer: str
    weight: str
    parameters: int
    bits: int
    stored_as: str
    size: int
    levels: int
    zeros: float
    input_quantized: bool | None
    runs_in_integers: bool | None
    problem: str


@dataclass(frozen=True)
class Comparison:
    """The outputs of a file against those of the Keras model, on the same samples.

    Attributes:
        samples: number of samples.
        relative_error: greatest difference over the greatest magnitude of the outputs.
        steps: greatest difference in steps of a grid of 256 levels over the range of the outputs.
        sqnr: power of the signal over power of the difference in dB, infinite for equal outputs.
        same_top1: share of samples whose greatest output along the last axis is the same, and of equal integers; None for
            outputs of one number.
        source: where the samples came from: ``"data"``, ``"registered"``, ``"calibration"`` or ``"drawn"``.
        flips, decided: how many decisions differ, of how many that are no near-ties; of outputs that are scores or integers.
        problem: what is wrong with the results; empty if nothing is.
        note: why a departure is none of the file's; empty if there is none.
        default_precision: in what the runtime computes floating point without any options, as ``"bf16"`` in OpenVINO on some CPUs;
            empty if that is float32, in which the file was compared.
        default_sqnr: ``sqnr`` in that precision; None if it is float32.
    """

    samples: int
    relative_error: float
    steps: float
    sqnr: float
    same_top1: float | None
    source: str = "data"
    flips: int = 0
    decided: int = 0
    problem: str = ""
    note: str = ""
    default_precision: str = ""
    default_sqnr: float | None = None


_SOURCES = {
    "data": "samples",
    "registered": "registered samples",
    "calibration": "samples of the calibration",
    "drawn": "drawn samples",
}


@dataclass(frozen=True)
class FileTensor:
    """An input or output of a file: ``value = scale * (integer - zero_point)``.

    Attributes:
        name: its name in the file.
        shape: its sizes, None where one is open.
        dtype: its type, as ``"int8"``.
        scale, zero_point: of its grid; None where it is of floating point, or of integers that are no grid.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class ExportReport(JsonReport):
    """What an exported file holds. ``print`` shows it as a table; it can stand wherever ``os.PathLike`` is accepted.

    Attributes:
        path: the file or folder.
        save_format: name of the format.
        size: bytes of all its files.
        float_size: bytes of the weights of the float model.
        weights: one row per compressed weight.
        comparison: of the results with the Keras model's, None if the file was not run.
        not_run: why it was not run, as the package that is missing; empty if it was.
        run_error: why its runtime could not run it; empty if it could.
        inputs, outputs: of the file, in its order; empty for formats that do not tell.

    Example::

        report = controller.export_model("model.tflite", data=images)
        print(report.size / report.float_size, report.comparison.sqnr)
    """

    path: Path
    save_format: str
    size: int
    float_size: int
    weights: tuple[WeightAudit, ...]
    comparison: Comparison | None = None
    not_run: str = ""
    run_error: str = ""
    inputs: tuple[FileTensor, ...] = ()
    outputs: tuple[FileTensor, ...] = ()

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def problems(self) -> list[WeightAudit]:
        """The weights that should be compressed and are not."""
        return [row for row in self.weights if row.problem]

    @property
    def faults(self) -> list[str]:
        """Everything that is wrong with the file, in sentences: with its weights, then with its results."""
        weights = [f"{row.layer}: {row.weight}: {row.problem}" for row in self.problems]
        return [*weights, self.result_problem] if self.result_problem else weights

    @property
    def result_problem(self) -> str:
        """What is wrong with the results of the file, or with running it; empty if nothing is."""
        return self.run_error if self.comparison is None else self.comparison.problem

    @property
    def size_ratio(self) -> float:
        """Bytes of the file over bytes of the float weights."""
        return self.size / max(self.float_size, 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values; an infinite signal-to-error ratio is None."""
        return json_values({**asdict(self), "path": str(self.path), "size_ratio": self.size_ratio})

    def __str__(self) -> str:
        parts = [f"{self.path} ({self.save_format}): {self.size:,} bytes, {self.size_ratio:.3f} of the float weights"]
        if self.weights:
            parts.append(self._table())
        grids = [
            (side, tensor)
            for side in ("inputs", "outputs")
            for tensor in getattr(self, side)
            if tensor.scale is not None
        ]
        if grids:
            rows = [[side[:-1], one.name, one.dtype, f"{one.scale:.9g}", one.zero_point] for side, one in grids]
            parts.append(format_table(["", "name", "type", "scale", "zero point"], rows))
        if self.comparison is not None:
            same = self.comparison.same_top1
            ratio, steps = decibels_text(self.comparison.sqnr), self.comparison.steps
            text = f"{ratio} signal to error, {steps:.2f} steps of 256 at most" if steps else "no error"
            top1 = "" if same is None else f", same top-1 on {same:.2%}"
            source = _SOURCES[self.comparison.source]
            parts.append(f"against Keras on {self.comparison.samples} {source}: {text}{top1}")
            parts += [sentence for sentence in (self.comparison.problem, self.comparison.note) if sentence]
            if self.comparison.default_precision:
                parts.append(
                    f"in {self.comparison.default_precision}, the default of the runtime on this CPU: "
                    f"{decibels_text(self.comparison.default_sqnr)}; INFERENCE_PRECISION_HINT=f32 computes the above"
                )
        if self.not_run:
            parts.append(f"not run: {self.not_run}")
        if self.run_error:
            parts.append(self.run_error)
        return "\n\n".join(parts)

    def _table(self) -> str:
        header = ["layer", "weight", "bits", "stored as", "bytes", "levels", "zeros", "reads integers", "computes in"]
        rows = [
            [
                *(
                    row.layer,
                    row.weight,
                    row.bits,
                    row.stored_as or "missing",
                    row.size,
                    row.levels,
                    f"{row.zeros:.1%}",
                ),
                *(answer(row.input_quantized, "yes", "no"), answer(row.runs_in_integers, "integers", "float")),
                row.problem,
            ]
            for row in self.weights
        ]
        return format_table([*header, "problem"], rows)


def answer(value: bool | None, yes: str, no: str) -> str:
    """Return one of two words; empty for None (unknown)."""
    return "" if value is None else yes if value else no
