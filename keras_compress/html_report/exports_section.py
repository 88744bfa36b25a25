"""The exports: what the audit of each file found in it."""

from __future__ import annotations

from collections.abc import Sequence

from keras_compress.html_report.section import Cell, Column, Section, Table
from keras_compress.reports import Comparison, ExportReport, WeightAudit
from keras_compress.reports.decibels import decibels_text

__all__ = ["exports_section"]


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
            Cell(str(len(report.problems)), order=len(report.problems), alarm=bool(report.problems)),
        )
        for report in exports
    )
    more: dict = {}
    for report in exports:
        if report.weights:
            same = report.path.name in (other.path.name for other in exports if other is not report)
            more[f"Weights in {report.path if same else report.path.name}"] = _weights(report.weights)
    words = ("Every file was read back from the disk.",)
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
            Cell(_answer(row.input_quantized, "yes", "no")),
            Cell(_answer(row.runs_in_integers, "integers", "floating point")),
            Cell(row.problem, alarm=bool(row.problem)),
        )
        for row in audits
    )
    return Table(tuple(Column(name, name in numeric) for name in names), rows)


def _answer(value: bool | None, yes: str, no: str) -> str:
    return "" if value is None else yes if value else no
