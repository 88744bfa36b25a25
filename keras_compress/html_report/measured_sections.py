"""Sections of what was measured before: latency of files, accuracy against size, the audits of exports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from keras_compress.errors import ConfigError
from keras_compress.export.latency import LatencyReport
from keras_compress.html_report.charts import Bar, Point, bar_chart, point_chart
from keras_compress.html_report.page import Cell, Column, Figure, Section, Table
from keras_compress.reports import Comparison, ExportReport, WeightAudit
from keras_compress.reports.export_report import answer
from keras_compress.reports.formatting import decibels_text

__all__ = ["accuracy_section", "exports_section", "latency_section"]


def latency_section(latency: LatencyReport) -> Section:
    """Return a bar for each file; float models have the second colour."""
    bars = []
    for row in latency.rows:
        faster = "" if row.times_faster is None else f" ({row.times_faster:.2f})"
        other = row.name.startswith("float model")
        shown = f"{row.median:.3f} ms{'' if other else faster}"
        bars.append(Bar(row.name, row.median, shown, (row.low, row.high), other))
    compared = any(row.times_faster is not None for row in latency.rows)
    words = (f"{latency.rounds} runs of {latency.batch_size} samples, in turn.",)
    title = "Milliseconds: median, and a tenth to nine tenths of the runs"
    note = "In brackets: how many times as fast as the float model in the same format."
    figures = (Figure(title, bar_chart(bars, "latency by file"), note if compared else ""),) if bars else ()
    return Section("latency", "Latency", words, figures=figures)


def accuracy_section(accuracy: Mapping[str, Any], sizes: Mapping[str, int]) -> Section:
    """Return a point for each accuracy.

    Args:
        accuracy: by name an accuracy, or a pair of an accuracy and bytes.
        sizes: bytes that are known, by name.

    Raises:
        ConfigError: an accuracy is no finite number, or its bytes are unknown.
    """
    points = [_point(name, value, sizes) for name, value in accuracy.items()]
    columns = (Column("model"), Column("bytes", True), Column("accuracy", True))
    rows = tuple(
        (
            Cell(f"{number}: {point.name}", order=number),
            Cell(f"{round(point.x * 1e3):,}", order=point.x),
            Cell(f"{point.y:.4g}", order=point.y),
        )
        for number, point in enumerate(points, 1)
    )
    figures = (Figure("Accuracy over kilobytes", point_chart(points, "kB", "accuracy")),)
    return Section("accuracy", "Accuracy against size", figures=figures, table=Table(columns, rows))


def _point(name: str, value: Any, sizes: Mapping[str, int]) -> Point:
    pair = value if isinstance(value, (tuple, list)) else (value, sizes.get(name))
    try:
        number, size = float(pair[0]), float(pair[1])
        if len(pair) == 2 and math.isfinite(number) and math.isfinite(size) and size >= 0:
            return Point(name, size / 1e3, number)
    except (TypeError, ValueError, IndexError):
        pass
    raise ConfigError(
        f"The accuracy of {name!r} cannot be drawn. Expected: a number under one of the names {sorted(sizes)}, whose bytes are "
        f"known, or a pair (accuracy, bytes). Received: {name!r}: {value!r}."
    )


def exports_section(exports: Sequence[ExportReport]) -> Section:
    """Return a row for each file, and a table of the weights of each."""
    columns = [Column("file"), Column("bytes", True), Column("of the float weights", True)]
    columns += [Column("beside Keras"), Column("problems", True)]
    rows = tuple(
        (
            Cell(report.path.name, report.save_format),
            Cell(f"{report.size:,}", order=report.size),
            Cell(f"{report.size_ratio:.1%}", order=report.size_ratio),
            Cell(_compared(report.comparison)),
            Cell(str(len(report.faults)), order=len(report.faults), alarm=bool(report.faults)),
        )
        for report in exports
    )
    more: dict = {}
    for report in exports:
        if report.weights:
            same = report.path.name in (other.path.name for other in exports if other is not report)
            more[f"Weights in {report.path if same else report.path.name}"] = _weights(report.weights)
    wrong = [f"{report.path.name}: {report.result_problem}." for report in exports if report.result_problem]
    words = ("Every file was read back from the disk, and run.", *wrong)
    return Section("exports", "Exports", words, table=Table(tuple(columns), rows), more=more)


def _compared(comparison: Comparison | None) -> str:
    if comparison is None:
        return "not compared"
    same = "" if comparison.same_top1 is None else f", same top-1 on {comparison.same_top1:.2%}"
    return f"{decibels_text(comparison.sqnr)} signal to error{same}, {comparison.samples} samples"


def _weights(audits: Sequence[WeightAudit]) -> Table:
    names = ("weight", "bits", "stored as", "bytes", "levels", "zeros", "reads integers", "computes in", "problem")
    numeric = ("bits", "bytes", "levels", "zeros")
    rows = tuple(
        (
            Cell(row.layer, row.weight),
            Cell("float" if row.bits == 32 else str(row.bits), order=row.bits),
            Cell(row.stored_as or "missing", alarm=not row.stored_as),
            Cell(f"{row.size:,}", order=row.size),
            Cell(str(row.levels), order=row.levels),
            Cell(f"{row.zeros:.1%}", order=row.zeros),
            Cell(answer(row.input_quantized, "yes", "no")),
            Cell(answer(row.runs_in_integers, "integers", "floating point")),
            Cell(row.problem, alarm=bool(row.problem)),
        )
        for row in audits
    )
    return Table(tuple(Column(name, name in numeric) for name in names), rows)
