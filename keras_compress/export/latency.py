"""benchmark: how long exported files take in their runtimes, side by side with the float model."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from keras_compress._keras import keras
from keras_compress.export.foreign_errors import WHOLE_FILE, explained
from keras_compress.export.format import Format, Run
from keras_compress.export.isolated_runtime import isolated_load
from keras_compress.reports.formatting import JsonReport, format_table, json_values
from keras_compress.safe_mode import trusting

__all__ = ["LatencyReport", "LatencyRow", "measure_latency"]


@dataclass(frozen=True)
class LatencyRow:
    """One file in its runtime.

    Attributes:
        name: of the file, or the one it was given.
        save_format: its format; ``frozen_graph`` runs in TensorFlow, ``onnx`` in ONNX Runtime.
        median, low, high: milliseconds per run: the median, a tenth and nine tenths of the runs.
        times_faster: median of the float model in the same format over this median; None without a float model.
        size: bytes.
    """

    name: str
    save_format: str
    median: float
    low: float
    high: float
    times_faster: float | None
    size: int


@dataclass(frozen=True)
class LatencyReport(JsonReport):
    """Latencies of several files, measured in turn. ``print`` shows a table.

    Attributes:
        rows: one per file, float models included.
        rounds: number of runs of each.
        batch_size: samples per run.
    """

    rows: tuple[LatencyRow, ...]
    rounds: int
    batch_size: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return json_values(asdict(self))

    def __str__(self) -> str:
        rows = [
            [
                *(row.name, row.save_format, f"{row.median:.3f}", f"{row.low:.3f}", f"{row.high:.3f}"),
                "" if row.times_faster is None else f"{row.times_faster:.2f}",
                row.size,
            ]
            for row in self.rows
        ]
        table = format_table(["file", "format", "median ms", "10 %", "90 %", "times faster", "bytes"], rows)
        return f"{self.rounds} runs of {self.batch_size} samples, in turn\n\n{table}"


def measure_latency(
    files: Mapping[str, tuple[Path, Format]],
    inputs: Sequence[np.ndarray],
    float_model: keras.Model | None,
    rounds: int,
    threads: int,
) -> LatencyReport:
    """Run files in turn on the same inputs.

    Args:
        files: path and format by name.
        inputs: one array per input, with the samples of one run.
        float_model: exported to every format among the files, and run in turn with them.
        rounds: how often each is run; a tenth more, before, are not counted.
        threads: for each runtime; 0 for as many as it likes.
    """
    with ExitStack() as stack:
        runs: dict[str, tuple[Format, Path, Run]] = {}
        for name, (path, form) in files.items():
            runs[name] = form, path, _loaded(form, path, inputs, threads)
        if float_model is not None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for form in {form.name: form for form, _, _ in runs.values()}.values():
                with trusting(True):  # the file is that of a living model
                    path = form.write(float_model, folder / f"float{form.suffix or '_' + form.name}")
                    runs[f"float model ({form.name})"] = form, path, form.load(path, None, threads)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        warm_up = max(1, rounds // 10)
        for number in tqdm(range(-warm_up, rounds), desc="latency", unit="round", leave=False, disable=None):
            for name, (_, _, run) in runs.items():
                start = time.perf_counter()
                _run(run, runs[name][1], inputs)
                if number >= 0:
                    seconds[name].append(time.perf_counter() - start)
        rows = [_row(name, form, path, seconds) for name, (form, path, _) in runs.items()]
    return LatencyReport(tuple(rows), rounds, len(inputs[0]))


def _loaded(form: Format, path: Path, inputs: Sequence[np.ndarray], threads: int) -> Run:
    """Make a file ready to run in this process, after it has run once in one of its own, which it may end."""
    with explained(f"'{path}' cannot be read as {form.name}", WHOLE_FILE):
        if form.isolated is not None:
            _run(isolated_load(form, path, None), path, inputs)
        return form.load(path, None, threads)


def _run(run: Run, path: Path, inputs: Sequence[np.ndarray]) -> None:
    shapes = [array.shape for array in inputs]
    way_out = "Pass data of the shapes and types that the file takes, in the order of its inputs."
    with explained(f"'{path}' cannot be run on arrays of the shapes {shapes}", way_out):
        run(inputs)


def _row(name: str, form: Format, path: Path, seconds: Mapping[str, list[float]]) -> LatencyRow:
    low, median, high = (1000 * float(value) for value in np.quantile(seconds[name], [0.1, 0.5, 0.9]))
    floats = seconds.get(f"float model ({form.name})")
    faster = None if floats is None else 1000 * float(np.median(floats)) / median
    return LatencyRow(name, form.name, median, low, high, faster, form.size(path))
