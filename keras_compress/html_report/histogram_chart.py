"""histogram_chart: the values of a weight before and after compression, over the same bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from keras_compress.html_report.svg import WIDTH, Axis, add, add_axes, markup, picture, ticks

__all__ = ["Histogram", "histogram_chart", "histogram_of"]

BINS, HEIGHT, TOP, BOTTOM = 64, 120, 8, 96


@dataclass(frozen=True)
class Histogram:
    """How often values lie in bins.

    Attributes:
        edges: ends of the bins, one more than there are bins.
        before, after: how many values lie in each; zeros that compression made are left out of ``after``.
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
        description: for who cannot see it.
    """
    edges = histogram.edges
    x = Axis(float(edges[0]), float(edges[-1]), 4, WIDTH - 4)
    y = Axis(0.0, float(max(histogram.before.max(), histogram.after.max())), BOTTOM, TOP)
    chart = picture(HEIGHT, description)
    places = [x.at(float(edge)) for edge in edges]
    outline = [f"M{places[0]:g} {BOTTOM}"]
    for left, right, count in zip(places[:-1], places[1:], histogram.before, strict=True):
        outline.append(f"L{left:g} {y.at(count):g}L{right:g} {y.at(count):g}")
    add(chart, "path", d="".join(outline) + f"L{places[-1]:g} {BOTTOM}Z", class_="area")
    width = max(round(places[1] - places[0] - 2, 1), 1.5)
    bars = [
        f"M{(left + right) / 2:g} {BOTTOM}V{y.at(count):g}"
        for left, right, count in zip(places[:-1], places[1:], histogram.after, strict=True)
        if count
    ]
    add(chart, "path", d="".join(bars), class_="bars", stroke_width=width)
    add_axes(chart, x, y, ticks(x.low, x.high, 4), [])
    return markup(chart)
