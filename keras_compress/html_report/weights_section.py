"""The weights and activations: a row for each, and histograms of the weights before and after compression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keras_compress.html_report.activation_rows import ActivationRow
from keras_compress.html_report.charts import histogram_chart
from keras_compress.html_report.compute_precision import FLOAT
from keras_compress.html_report.page import Cell, Column, Figure, Section, Table
from keras_compress.html_report.weight_rows import WeightRow
from keras_compress.reports import ExportReport
from keras_compress.reports.formatting import decibels_text

__all__ = ["activations_section", "histograms_section", "weights_section"]

#: Histograms that are shown at once; the others are folded away.
SHOWN = 6


def weights_section(weights: Sequence[WeightRow], exports: Sequence[ExportReport]) -> Section:
    """Return a row for each weight, with what the runtimes said about it if files were exported.

    Args:
        weights: of the model.
        exports: files of it.
    """
    names = ("weight", "parameters", "bits", "zeros", "range", "SQNR", "computes in")
    columns = [Column(name, name not in ("weight", "computes in")) for name in names]
    said = _said_by_runtimes(exports)
    if said:
        columns.append(Column("in its runtime"))
    rows = []
    for row in weights:
        cells = [
            Cell(row.layer, f"{row.class_name}, {row.weight}, {' x '.join(map(str, row.shape))}"),
            Cell(f"{row.parameters:,}", order=row.parameters),
            Cell("float" if row.bits == 32 else str(row.bits), order=row.bits),
            Cell(f"{row.zeros:.1%}", order=row.zeros),
            _range(row.low, row.high),
            Cell(decibels_text(row.sqnr), order=1e9 if row.sqnr is None else min(row.sqnr, 1e6)),
            Cell(row.computes_in, row.reason, alarm=row.computes_in == FLOAT),
        ]
        rows.append((*cells, *([said.get((row.layer, row.weight), Cell(""))] if said else [])))
    words = (
        "SQNR compares the weight on its grid with the float weight that has the same zeros. What an operation computes in is "
        "what its quantizers allow; what a runtime makes of it is in the exports.",
    )
    return Section("weights", "Weights", words, table=Table(tuple(columns), tuple(rows)))


def _said_by_runtimes(exports: Sequence[ExportReport]) -> Mapping[tuple[str, str], Cell]:
    """Return for each weight in which files a runtime computes with it in integers, if any was asked."""
    found: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for report in exports:
        for row in report.weights:
            if row.runs_in_integers is not None:
                found.setdefault((row.layer, row.weight), []).append((report.path.name, row.runs_in_integers))
    return {
        key: Cell(
            "; ".join(f"{name}: {'integers' if integers else FLOAT}" for name, integers in answers),
            alarm=not all(integers for _, integers in answers),
        )
        for key, answers in found.items()
    }


def _range(low: float, high: float) -> Cell:
    return Cell(f"{low + 0.0:.3g} to {high + 0.0:.3g}", order=high - low)  # what is -0 becomes 0


def histograms_section(weights: Sequence[WeightRow]) -> Section | None:
    """Return the histograms of the compressed weights, None if there are none."""
    figures = []
    for row in weights:
        if row.histogram is not None:
            note = f"{row.zeros:.1%} zeros" if row.zeros >= 0.001 else ""
            description = f"values of {row.layer} {row.weight} before and after compression"
            title = row.layer if row.weight == "kernel" else f"{row.layer}: {row.weight}"
            figures.append(Figure(title, histogram_chart(row.histogram, description), note))
    if not figures:
        return None
    words = ("Area: before compression. Bars: after it, without the zeros it made.",)
    rest = tuple(figures[SHOWN:])
    more: dict = {f"{len(rest)} more": rest} if rest else {}
    return Section("histograms", "Values of the weights", words, figures=tuple(figures[:SHOWN]), more=more)


def activations_section(activations: Sequence[ActivationRow]) -> Section | None:
    """Return a row for each quantizer of activations, None if there are none."""
    if not activations:
        return None
    columns = (Column("quantizer"), Column("bits", True), Column("ranges", True), Column("range", True), Column("for"))
    rows = tuple(
        (
            Cell(row.path),
            Cell("float" if row.bits == 32 else str(row.bits), order=row.bits),
            Cell(str(row.ranges), order=row.ranges),
            _range(row.low, row.high),
            Cell(", ".join(row.readers)),
        )
        for row in activations
    )
    return Section("activations", "Activations", table=Table(columns, rows))
