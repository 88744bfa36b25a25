"""Charts of the report: bars, histograms of weights, lines over epochs, points with a size and an accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from keras_compress.html_report.svg import WIDTH, Axis, add, add_axes, markup, picture, text, ticks

__all__ = [
    "Bar",
    "Histogram",
    "Line",
    "Point",
    "bar_chart",
    "histogram_chart",
    "histogram_of",
    "line_chart",
    "point_chart",
]

BAR_ROW, BAR_HEIGHT, LETTER_WIDTH = 36, 12, 7.2


@dataclass(frozen=True)
class Bar:
    """A bar.

    Attributes:
        name: above it.
        value: its length, 0 or more; what is not finite has none.
        shown: the value as text.
        spread: ends of a line over the bar, as a lower and an upper value; None for no line.
        other: drawn in the second colour.
    """

    name: str
    value: float
    shown: str
    spread: tuple[float, float] | None = None
    other: bool = False


def bar_chart(bars: Sequence[Bar], description: str) -> Markup:
    """Return bars one below the other, the longest as wide as the picture.

    Args:
        bars: at least one.
        description: what a screen reader says in its place.
    """
    ends = [_length(value) for bar in bars for value in (bar.value, *(bar.spread or ()))]
    axis = Axis(0.0, max(ends) or 1.0, 0, WIDTH)
    chart = picture(BAR_ROW * len(bars), description)
    for number, bar in enumerate(bars):
        top = BAR_ROW * number + 16
        room = max(int(WIDTH / LETTER_WIDTH) - len(bar.shown), 8)
        text(chart, 0, top - 4, bar.name if len(bar.name) <= room else f"…{bar.name[1 - room :]}")
        text(chart, WIDTH, top - 4, bar.shown, "value", "end")
        add(chart, "rect", x=0, y=top, width=WIDTH, height=BAR_HEIGHT, class_="empty")
        width = axis.at(_length(bar.value))
        add(chart, "rect", x=0, y=top, width=width, height=BAR_HEIGHT, class_="second" if bar.other else "first")
        if bar.spread is not None:
            middle = top + BAR_HEIGHT / 2
            low, high = (axis.at(_length(value)) for value in bar.spread)
            add(chart, "line", x1=low, x2=high, y1=middle, y2=middle, class_="spread")
    return markup(chart)


def _length(value: float) -> float:
    return max(value, 0.0) if math.isfinite(value) else 0.0


BINS, HISTOGRAM_HEIGHT, HISTOGRAM_TOP, HISTOGRAM_BOTTOM = 64, 120, 8, 96


@dataclass(frozen=True)
class Histogram:
    """Counts of values by bin.

    Attributes:
        edges: ends of the bins, one more than there are bins.
        before, after: the counts; zeros made by compression are left out of ``after``.
    """

    edges: np.ndarray
    before: np.ndarray
    after: np.ndarray


def histogram_of(before: np.ndarray, after: np.ndarray) -> Histogram | None:
    """Return the histograms of a weight before and after compression; None if it has no value but one.

    Zeros made by compression are left out: they would be the only bin to be seen.
    """
    if not before.size:
        return None
    made_zero = (after == 0) & (before != 0)
    low, high = (float(end(np.append(end(before), end(after)))) for end in (np.min, np.max))
    if not np.isfinite([low, high]).all() or high <= low:
        return None
    edges = np.linspace(low, high, BINS + 1)
    return Histogram(edges, np.histogram(before, edges)[0], np.histogram(after[~made_zero], edges)[0])


def histogram_chart(histogram: Histogram, description: str) -> Markup:
    """Return both histograms over each other: before as an area, after as bars.

    Args:
        histogram: the numbers.
        description: what a screen reader says in its place.
    """
    edges = histogram.edges
    x = Axis(float(edges[0]), float(edges[-1]), 4, WIDTH - 4)
    y = Axis(0.0, float(max(histogram.before.max(), histogram.after.max())), HISTOGRAM_BOTTOM, HISTOGRAM_TOP)
    chart = picture(HISTOGRAM_HEIGHT, description)
    places = [x.at(float(edge)) for edge in edges]
    outline = [f"M{places[0]:g} {HISTOGRAM_BOTTOM}"]
    for left, right, count in zip(places[:-1], places[1:], histogram.before, strict=True):
        outline.append(f"L{left:g} {y.at(count):g}L{right:g} {y.at(count):g}")
    add(chart, "path", d="".join(outline) + f"L{places[-1]:g} {HISTOGRAM_BOTTOM}Z", class_="area")
    width = max(round(places[1] - places[0] - 2, 1), 1.5)
    bars = [
        f"M{(left + right) / 2:g} {HISTOGRAM_BOTTOM}V{y.at(count):g}"
        for left, right, count in zip(places[:-1], places[1:], histogram.after, strict=True)
        if count
    ]
    add(chart, "path", d="".join(bars), class_="bars", stroke_width=width)
    add_axes(chart, x, y, ticks(x.low, x.high, 4), [])
    return markup(chart)


LINE_HEIGHT, LINE_TOP, LINE_BOTTOM, LINE_LEFT, DOTS = 200, 44, 160, 44, 60


@dataclass(frozen=True)
class Line:
    """A line: its name in the legend, and its points; where ``y`` is not finite it is broken."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def line_chart(lines: Sequence[Line], x_label: str, y_label: str, *, from_zero: bool = False) -> Markup:
    """Return up to three lines over a common axis, with dots where there are few points.

    Args:
        lines: at least one, with a finite point.
        x_label, y_label: what stands along the axes.
        from_zero: begin the vertical axis at zero. Default False.
    """
    points = [[(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)] for line in lines]
    xs, ys = (sorted(values) for values in zip(*(point for part in points for point in part), strict=True))
    low, high = 0.0 if from_zero else ys[0], ys[-1]
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    x = Axis(xs[0], xs[-1] if xs[-1] > xs[0] else xs[0] + 1, LINE_LEFT, WIDTH - 8, x_label)
    y = Axis(low if from_zero else low - margin, high + margin, LINE_BOTTOM, LINE_TOP, y_label)
    chart = picture(LINE_HEIGHT, f"{y_label} over {x_label}: {', '.join(line.name for line in lines)}")
    whole = [value for value in ticks(x.low, x.high) if value == round(value)]
    add_axes(chart, x, y, whole, ticks(y.low, y.high, 4))
    offset = 0.0
    for line, part, kind in zip(lines, points, ("first", "second", "third"), strict=False):
        add(chart, "path", d=_path(line, x, y), class_=f"line {kind}")
        for at, value in part if len(part) <= DOTS else []:
            add(chart, "circle", cx=x.at(at), cy=y.at(value), r=2.5, class_=kind)
        add(chart, "rect", x=offset, y=5, width=10, height=10, class_=kind)
        text(chart, offset + 15, 14, line.name, "small")
        offset += 30 + 6.5 * len(line.name)
    return markup(chart)


def _path(line: Line, x: Axis, y: Axis) -> str:
    """Return a line as SVG draws it: M begins a piece, L goes on."""
    steps, drawing = [], False
    for at, value in zip(line.x, line.y, strict=True):
        if math.isfinite(value):
            steps.append(f"{'L' if drawing else 'M'}{x.at(at):g} {y.at(value):g}")
        drawing = math.isfinite(value)
    return "".join(steps)


POINT_HEIGHT, POINT_TOP, POINT_BOTTOM, POINT_LEFT = 220, 40, 180, 48


@dataclass(frozen=True)
class Point:
    """A thing with its name and two finite numbers."""

    name: str
    x: float
    y: float


def point_chart(points: Sequence[Point], x_label: str, y_label: str) -> Markup:
    """Return points labelled with numbers from 1; a table below the chart has their names.

    Args:
        points: at least one; ``x`` begins at zero.
        x_label, y_label: what stands along the axes.
    """
    low, high = min(point.y for point in points), max(point.y for point in points)
    margin = 0.15 * (high - low) or 0.05 * abs(high) or 1.0
    x = Axis(0.0, 1.1 * max(point.x for point in points) or 1.0, POINT_LEFT, WIDTH - 8, x_label)
    y = Axis(low - margin, high + margin, POINT_BOTTOM, POINT_TOP, y_label)
    chart = picture(POINT_HEIGHT, f"{y_label} over {x_label} of {', '.join(point.name for point in points)}")
    add_axes(chart, x, y, ticks(x.low, x.high, 4), ticks(y.low, y.high, 4))
    for number, point in enumerate(points, 1):
        add(chart, "circle", cx=x.at(point.x), cy=y.at(point.y), r=4, class_="first")
        text(chart, x.at(point.x) + 7, y.at(point.y) - 5, str(number), "value")
    return markup(chart)
