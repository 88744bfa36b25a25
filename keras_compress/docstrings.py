"""Docstrings as data: the summary of a class and what it says of each attribute, for the JSON Schema and its reference.

Only the form that this package writes is understood: an ``Attributes:`` section, one name or several with commas before the colon.
"""

from __future__ import annotations

import inspect
import re

__all__ = ["attributes_of", "plain", "summary_of"]

_SECTION = re.compile(r"^(Args|Attributes|Example|Examples|Gradient|Raises|Returns|Source):", re.MULTILINE)
_ATTRIBUTE = re.compile(r"^    (\w+(?:, \w+)*): ")
_ROLE = re.compile(r":\w+:`~?([^`]*)`")


def summary_of(owner: type) -> str:
    """Return the docstring of a class up to its first section, as plain text in one line."""
    return plain(_SECTION.split(inspect.cleandoc(owner.__doc__ or ""), maxsplit=1)[0])


def attributes_of(owner: type) -> dict[str, str]:
    """Return what the docstrings of a class and its bases say of each attribute; the class itself has the last word.

    Example:
        >>> class Point:
        ...     '''A place.
        ...
        ...     Attributes:
        ...         x, y: where it is,
        ...             in metres.
        ...     '''
        >>> attributes_of(Point)
        {'x': 'where it is, in metres.', 'y': 'where it is, in metres.'}
    """
    found: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        found.update(_own_attributes(base))
    return found


def _own_attributes(owner: type) -> dict[str, str]:
    _, _, section = inspect.cleandoc(vars(owner).get("__doc__") or "").partition("\nAttributes:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        start = _ATTRIBUTE.match(line)
        if line and not line.startswith("    "):
            break
        if start:
            names = start.group(1).split(", ")
            found.update(dict.fromkeys(names, line[start.end() :]))
        else:
            found.update({name: f"{found[name]} {line}" for name in names})
    return {name: plain(text) for name, text in found.items()}


def plain(text: str) -> str:
    """Return a piece of a docstring in one line, with code between single backticks."""
    text = _ROLE.sub(lambda role: f"`{role.group(1).rpartition('.')[2]}`", text)
    return " ".join(text.replace("``", "`").split())
