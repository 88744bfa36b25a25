"""Errors by layer: how far the layers of a file are from the model's, as errors arrive, and where each is fed the model's inputs."""

from __future__ import annotations

from collections.abc import Sequence

from keras_compress.export.layer_departure import LayerComparison, LayerDeparture
from keras_compress.html_report.charts import Bar, bar_chart
from keras_compress.html_report.page import Cell, Column, Figure, Section, Table
from keras_compress.reports.formatting import decibels_text

__all__ = ["layer_errors_section"]

#: Layers of a file that have a bar; all are in the table.
SHOWN = 20
ARRIVING, OWN = "Mean error of each layer as it arrives, in steps", "Mean error of each layer by itself, in steps"


def layer_errors_section(comparisons: Sequence[LayerComparison]) -> Section:
    """Return for each file two pictures of the errors of its layers, in the order of the model, and a table of all.

    Args:
        comparisons: what :func:`keras_compress.compare` returned.
    """
    figures: list[Figure] = []
    more: dict = {}
    for found in comparisons:
        name = found.path.name
        figures.append(_figure(f"{name}: {ARRIVING}", [(row, row.steps, None) for row in found.rows]))
        fed = [(row, row.fed_steps, row.fed_largest) for row in found.rows if row.fed_steps is not None]
        if fed:
            figures.append(_figure(f"{name}: {OWN}", fed))
        same = name in (other.path.name for other in comparisons if other is not found)
        more[f"Layers in {found.path if same else name}"] = _table(found.rows)
    words = [
        "A step is that of the quantizer behind a layer where it is fed the inputs that it has in the model, else one of 256 over its "
        "values. By itself a layer has the error that it makes; what arrives has those of all layers before it as well.",
        *(f"{found.path.name}: {found.reason}." for found in comparisons if found.reason),
        *(
            f"{found.path.name}: read from files that end there: {', '.join(found.cut)}."
            for found in comparisons
            if found.cut
        ),
    ]
    return Section("layers", "Errors by layer", tuple(words), figures=tuple(figures), more=more)


def _figure(title: str, errors: Sequence[tuple[LayerDeparture, float, float | None]]) -> Figure:
    """Return bars for the layers with the largest errors, in the order of the model."""
    worst = sorted(range(len(errors)), key=lambda at: -errors[at][1])[:SHOWN]
    bars = []
    for at in sorted(worst):
        row, mean, largest = errors[at]
        shown = f"{mean:.3f}" if largest is None else f"{mean:.3f}, at most {largest:.2f}"
        bars.append(Bar(row.layer, mean, shown, other=largest is not None))
    note = f"The {SHOWN} largest of {len(errors)} layers." if len(errors) > SHOWN else ""
    return Figure(title, bar_chart(bars, title), note)


def _table(rows: Sequence[LayerDeparture]) -> Table:
    columns = [Column("layer")]
    columns += [Column(name, True) for name in ("signal to error", "steps", "by itself: mean", "by itself: largest")]
    return Table(
        tuple(columns),
        tuple(
            (
                Cell(row.layer, row.tensor),
                Cell(decibels_text(row.sqnr), order=min(row.sqnr, 1e6)),
                *(_number(value) for value in (row.steps, row.fed_steps, row.fed_largest)),
            )
            for row in rows
        ),
    )


def _number(value: float | None) -> Cell:
    return Cell("", order=-1.0) if value is None else Cell(f"{value:.3f}", order=value)
