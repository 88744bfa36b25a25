"""bar_chart: one bar for each of some things with names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from keras_compress.html_report.svg import WIDTH, Axis, add, markup, picture, text

__all__ = ["Bar", "bar_chart"]

ROW, BAR, LETTER = 36, 12, 7.2


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
        description: for who cannot see it.
    """
    ends = [_length(value) for bar in bars for value in (bar.value, *(bar.spread or ()))]
    axis = Axis(0.0, max(ends) or 1.0, 0, WIDTH)
    chart = picture(ROW * len(bars), description)
    for number, bar in enumerate(bars):
        top = ROW * number + 16
        room = max(int(WIDTH / LETTER) - len(bar.shown), 8)
        text(chart, 0, top - 4, bar.name if len(bar.name) <= room else f"…{bar.name[1 - room :]}")
        text(chart, WIDTH, top - 4, bar.shown, "value", "end")
        add(chart, "rect", x=0, y=top, width=WIDTH, height=BAR, class_="empty")
        width = axis.at(_length(bar.value))
        add(chart, "rect", x=0, y=top, width=width, height=BAR, class_="second" if bar.other else "first")
        if bar.spread is not None:
            middle = top + BAR / 2
            low, high = (axis.at(_length(value)) for value in bar.spread)
            add(chart, "line", x1=low, x2=high, y1=middle, y2=middle, class_="spread")
    return markup(chart)


def _length(value: float) -> float:
    return max(value, 0.0) if math.isfinite(value) else 0.0
