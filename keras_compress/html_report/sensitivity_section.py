"""The damage: what quantization of each layer costs the outputs, from an analysis that was made before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from keras_compress.html_report.charts import Bar, bar_chart
from keras_compress.html_report.page import Cell, Column, Figure, Section, Table
from keras_compress.reports.formatting import decibels_text

__all__ = ["Sensitivity", "sensitivity_section"]

#: Layers that have a bar; all are in the table.
SHOWN = 20


class Sensitivity(Protocol):
    """What a ``SensitivityReport`` has: see :func:`keras_compress.analyze`."""

    @property
    def rows(self) -> Sequence[Any]: ...

    @property
    def sqnr(self) -> float: ...

    @property
    def samples(self) -> int: ...


def sensitivity_section(sensitivity: Sensitivity) -> Section:
    """Return the layers by the damage they do, the worst first."""
    rows = sensitivity.rows
    measured = bool(rows) and all(row.damage is not None for row in rows)
    if measured:
        title = "Share in the errors that layers cause one by one"
        bars = [Bar(row.layer, row.damage, f"{row.damage:.1%}") for row in rows[:SHOWN]]
    else:
        title = "Error at the output of each layer, over its signal"
        bars = [Bar(row.layer, _relative(row.sqnr), decibels_text(row.sqnr)) for row in rows[:SHOWN]]
    note = f"The {SHOWN} worst of {len(rows)} layers." if len(rows) > SHOWN else ""
    figures = (Figure(title, bar_chart(bars, title), note),) if bars else ()
    columns = [Column("layer")]
    columns += [Column(name, True) for name in ("bits", "parameters", "SQNR of layer", "only this", "all but this")]
    table = Table(tuple(columns), tuple(_cells(row) for row in rows))
    words = (
        f"Outputs of the quantized model: {decibels_text(sensitivity.sqnr)} signal to error on {sensitivity.samples} samples. "
        "“Only this” is measured at the outputs with one layer quantized, “all but this” with one in floating point.",
    )
    return Section("damage", "Damage by layer", words, figures=figures, table=table if rows else None)


def _relative(ratio: float) -> float:
    """Return the amplitude of the error over that of the signal."""
    return 10 ** (-ratio / 20) if math.isfinite(ratio) else 0.0


def _cells(row: Any) -> tuple[Cell, ...]:
    ratios = [
        Cell(decibels_text(ratio), order=1e9 if ratio is None else min(ratio, 1e6))
        for ratio in (row.sqnr, row.only_one, row.leave_one_out)
    ]
    counts = [Cell(str(row.bits), order=row.bits), Cell(f"{row.parameters:,}", order=row.parameters)]
    return (Cell(row.layer), *counts, *ratios)
