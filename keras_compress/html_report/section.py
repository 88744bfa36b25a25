"""Section: a part of the page, as text, pictures and tables, without its looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

__all__ = ["Cell", "Column", "Figure", "Section", "Table"]


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
        more: what is folded under a title until somebody asks for it: figures, a table or a text as it is.
    """

    name: str
    title: str
    words: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    figures: tuple[Figure, ...] = ()
    table: Table | None = None
    more: Mapping[str, tuple[Figure, ...] | Table | str] = field(default_factory=dict)
