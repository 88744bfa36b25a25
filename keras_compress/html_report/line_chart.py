"""line_chart: numbers over the epochs, or over anything else that goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from keras_compress.html_report.svg import WIDTH, Axis, add, add_axes, markup, picture, text, ticks

__all__ = ["Line", "line_chart"]

HEIGHT, TOP, BOTTOM, LEFT, DOTS = 200, 44, 160, 44, 60


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
    x = Axis(xs[0], xs[-1] if xs[-1] > xs[0] else xs[0] + 1, LEFT, WIDTH - 8, x_label)
    y = Axis(low if from_zero else low - margin, high + margin, BOTTOM, TOP, y_label)
    chart = picture(HEIGHT, f"{y_label} over {x_label}: {', '.join(line.name for line in lines)}")
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
