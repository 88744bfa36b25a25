"""The latency of files in their runtimes, from a measurement that was made before."""

from __future__ import annotations

from keras_compress.export.latency import LatencyReport
from keras_compress.html_report.bar_chart import Bar, bar_chart
from keras_compress.html_report.section import Figure, Section

__all__ = ["latency_section"]


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
