"""Pictures as SVG for a page: the frame, axes with round numbers, and marks that the style sheet of the page colours.

Widths are those of a phone, so that text in a picture is as large as text beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

__all__ = ["WIDTH", "Axis", "add", "add_axes", "markup", "picture", "text", "ticks"]

WIDTH = 340


@dataclass(frozen=True)
class Axis:
    """A linear map of values to places.

    Attributes:
        low, high: values at its ends, with ``low < high``.
        start, end: places of these values.
        label: what is shown along it.
    """

    low: float
    high: float
    start: float
    end: float
    label: str = ""

    def at(self, value: float) -> float:
        """Return the place of a value, to a tenth."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers within a range, at most ``most + 1``, evenly spaced by 1, 2 or 5 times a power of ten.

    Example:
        >>> ticks(0.0, 0.87)
        [0.0, 0.2, 0.4, 0.6, 0.8]
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def picture(height: float, description: str) -> Element:
    """Return an empty picture, as wide as the column it stands in.

    Args:
        height: beside a width of 340.
        description: what a screen reader says in its place.
    """
    frame = {"viewBox": f"0 0 {WIDTH} {height:g}", "role": "img", "aria-label": description}
    return Element("svg", frame)


def add(parent: Element, kind: str, **attributes: object) -> Element:
    """Add a mark; an attribute ``stroke_width`` is SVG's ``stroke-width``, and ``class_`` its ``class``."""
    names = {key.rstrip("_").replace("_", "-"): str(value) for key, value in attributes.items()}
    return SubElement(parent, kind, names)


def text(parent: Element, x: float, y: float, words: str, class_: str = "", anchor: str = "start") -> None:
    """Add words at a place."""
    add(parent, "text", x=x, y=y, class_=class_, text_anchor=anchor).text = words


def add_axes(parent: Element, x: Axis, y: Axis, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> None:
    """Add lines at round numbers of both axes, the numbers and the labels."""
    for value in y_ticks:
        add(parent, "line", x1=x.start, x2=x.end, y1=y.at(value), y2=y.at(value), class_="grid")
        text(parent, x.start - 5, y.at(value) + 4, f"{value:g}", "small", "end")
    for value in x_ticks:
        add(parent, "line", x1=x.at(value), x2=x.at(value), y1=y.start, y2=y.start + 4, class_="axis")
        text(parent, x.at(value), y.start + 16, f"{value:g}", "small", "middle")
    add(parent, "line", x1=x.start, x2=x.end, y1=y.start, y2=y.start, class_="axis")
    if x.label:
        text(parent, x.end, y.start + 32, x.label, "small", "end")
    if y.label:
        text(parent, 0, y.end - 12, y.label, "small")


def markup(element: Element) -> Markup:
    """Return a picture as text that a page takes as it is; whatever words it holds are escaped."""
    return Markup(tostring(element, encoding="unicode"))
