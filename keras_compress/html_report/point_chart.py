"""point_chart: things with two numbers, such as a size and an accuracy, as points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from keras_compress.html_report.svg import WIDTH, Axis, add, add_axes, markup, picture, text, ticks

__all__ = ["Point", "point_chart"]

HEIGHT, TOP, BOTTOM, LEFT = 220, 40, 180, 48


@dataclass(frozen=True)
class Point:
    """A thing with its name and two finite numbers."""

    name: str
    x: float
    y: float


def point_chart(points: Sequence[Point], x_label: str, y_label: str) -> Markup:
    """Return points with their numbers from 1 on beside them; names are for a table below.

    Args:
        points: at least one; ``x`` begins at zero.
        x_label, y_label: what stands along the axes.
    """
    low, high = min(point.y for point in points), max(point.y for point in points)
    margin = 0.15 * (high - low) or 0.05 * abs(high) or 1.0
    x = Axis(0.0, 1.1 * max(point.x for point in points) or 1.0, LEFT, WIDTH - 8, x_label)
    y = Axis(low - margin, high + margin, BOTTOM, TOP, y_label)
    chart = picture(HEIGHT, f"{y_label} over {x_label} of {', '.join(point.name for point in points)}")
    add_axes(chart, x, y, ticks(x.low, x.high, 4), ticks(y.low, y.high, 4))
    for number, point in enumerate(points, 1):
        add(chart, "circle", cx=x.at(point.x), cy=y.at(point.y), r=4, class_="first")
        text(chart, x.at(point.x) + 7, y.at(point.y) - 5, str(number), "value")
    return markup(chart)
