"""The summary: what was compressed, how far, and what it saves."""

from __future__ import annotations

import json
from collections.abc import Sequence

from keras_compress.calibration.calibration_record import calibration_of
from keras_compress.html_report.charts import Bar, bar_chart
from keras_compress.html_report.compute_precision import FLOAT
from keras_compress.html_report.page import Cell, Column, Figure, Section, Table
from keras_compress.html_report.reported_model import ReportedModel
from keras_compress.html_report.weight_rows import WeightRow
from keras_compress.reports import Comparison, ExportReport, ModelSize, OperationRow
from keras_compress.reports.formatting import decibels_text
from keras_compress.reports.statistics import SPARSITY_NOTE

__all__ = ["summary_section"]


def summary_section(
    subject: ReportedModel,
    weights: Sequence[WeightRow],
    size: ModelSize,
    operations: Sequence[OperationRow],
    exports: Sequence[ExportReport],
    outputs: Comparison | None,
) -> Section:
    """Return the first section of a report.

    Args:
        subject: the model.
        weights: its weights.
        size: bytes of its weights.
        operations: its convolutions and matrix products.
        exports: files whose sizes are shown.
        outputs: the comparison with the outputs in floating point, if there was one.
    """
    facts = _facts(subject, weights, size)
    if outputs is not None:
        same = "" if outputs.same_top1 is None else f", same top-1 on {outputs.same_top1:.2%}"
        text = f"{decibels_text(outputs.sqnr)} signal to error{same}, {outputs.samples} samples"
        facts.append(("outputs beside those with quantizers switched off", text))
    sizes = {"as float32": size.float32, "on their grids": size.dense, "packed by gzip": size.gzip}
    sparse = any(row.zeros >= 0.01 for row in weights)
    if sparse:
        sizes["stored sparsely"] = size.sparse
    bars = [Bar(f"weights {name}", value, f"{value:,}") for name, value in sizes.items()]
    bars += [Bar(report.path.name, report.size, f"{report.size:,}", other=True) for report in exports]
    figures = [Figure("Bytes", bar_chart(bars, "bytes of the weights and of the files"))]
    if operations:
        figures.append(Figure("Multiply-accumulates by the bits of their weights", _operation_chart(operations)))
    record = calibration_of(subject.model)
    if record is not None and record.remarks:
        facts.append(("calibration, signal over error of the outputs", "; ".join(record.remarks)))
    return Section("summary", "Summary", facts=tuple(facts), figures=tuple(figures), more=_more(subject))


def _facts(subject: ReportedModel, weights: Sequence[WeightRow], size: ModelSize) -> list[tuple[str, str]]:
    facts = [("model", subject.model.name)]
    compressed = [row for row in weights if row.bits < 32 or row.histogram is not None]
    parameters, all_parameters = (sum(row.parameters for row in rows) for rows in (compressed, weights))
    statistics = subject.statistics
    if statistics is not None and subject.config is not None:
        names = [algorithm["algorithm"] for algorithm in subject.config["compression"]]
        facts += [("algorithms", ", ".join(names)), ("stage", statistics.stage.lower().replace("_", " "))]
    facts.append(("weights compressed", f"{parameters / max(all_parameters, 1):.1%} of {all_parameters:,}"))
    bits = sorted({row.bits for row in weights if row.bits < 32})
    if bits:
        facts.append(("bits of weights", ", ".join(map(str, bits))))
    if statistics is not None and statistics.sparsity:
        facts.append(("zeros in masked weights", f"{statistics.sparsity_level:.1%}"))
    exact = sum(row.computes_in != FLOAT for row in weights)
    facts.append(("computed in integers or bits", f"{exact} of {len(weights)} weights"))
    facts.append(("bytes of weights", f"{size.float32:,} → {size.dense:,} ({size.dense / max(size.float32, 1):.1%})"))
    return facts


def _more(subject: ReportedModel) -> dict[str, Table | str]:
    """Return details that only a controller has, for a collapsed part of the page."""
    if subject.statistics is None or subject.config is None:
        return {}
    more: dict[str, Table | str] = {"Configuration": json.dumps(subject.config, indent=2, default=str)}
    rows = tuple(
        (Cell(name), Cell(key.replace("_", " ")), Cell(f"{value:.4g}", order=value))
        for name, numbers in subject.statistics.numbers.items()
        for key, value in numbers.items()
    )
    if rows:
        more["Numbers of the algorithms"] = Table((Column("algorithm"), Column("number"), Column("value", True)), rows)
    if subject.statistics.sparsity:
        more["What the zeros are good for"] = SPARSITY_NOTE
    return more


def _operation_chart(operations: Sequence[OperationRow]):
    work: dict[int, int] = {}
    for row in sorted(operations, key=lambda row: row.bits):
        work[row.bits] = work.get(row.bits, 0) + row.multiply_accumulates
    total = max(sum(work.values()), 1)
    names = {1: "1 bit", 32: FLOAT}
    bars = [
        Bar(names.get(bits, f"{bits} bits"), value, f"{value / total:.1%}", other=bits == 32)
        for bits, value in work.items()
    ]
    return bar_chart(bars, "share of the multiply-accumulates by bits")
