"""The page: sections of text, pictures and tables, rendered as one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["Cell", "Column", "Figure", "Section", "Table", "render"]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        words: what it shows.
        note: smaller words below.
        order: what it is sorted by; its words if None.
        alarm: whether something is wrong with it.
    """

    words: str
    note: str = ""
    order: float | None = None
    alarm: bool = False


@dataclass(frozen=True)
class Column:
    """A column of a table: its name, and whether it holds numbers."""

    name: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """Columns, and rows of as many cells each."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A picture with its title, and a note below it."""

    title: str
    chart: Markup
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: its address within the page, a word of lower-case letters.
        title: its heading.
        words: paragraphs.
        facts: pairs of a name and a value.
        figures: pictures, side by side where there is room.
        table: below them, if any.
        more: collapsed under a title: figures, a table or preformatted text.
    """

    name: str
    title: str
    words: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    figures: tuple[Figure, ...] = ()
    table: Table | None = None
    more: Mapping[str, tuple[Figure, ...] | Table | str] = field(default_factory=dict)


def render(title: str, sections: Sequence[Section]) -> str:
    """Return a page: style, script and pictures are inside, and a policy in it forbids a browser to load anything.

    Args:
        title: of the page.
        sections: in their order.

    Example:
        >>> "<h1>a &lt; b</h1>" in render("a < b", [])
        True
    """
    environment = Environment(
        loader=PackageLoader("keras_compress.html_report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["table"] = lambda value: isinstance(value, Table)
    return environment.get_template("page.html").render(title=title, sections=sections)
