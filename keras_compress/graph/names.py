"""Names that nothing else has: of layers that are put into a model, and of variables."""

from __future__ import annotations

from collections.abc import Container

__all__ = ["numbered_name", "unused_name"]


def unused_name(wanted: str, taken: set[str]) -> str:
    """Return ``wanted``, with underscores behind it while it is among ``taken``, and add the result to them."""
    while wanted in taken:
        wanted += "_"
    taken.add(wanted)
    return wanted


def numbered_name(wanted: str, taken: Container[str]) -> str:
    """Return ``wanted``, with the first number behind it that makes it a name not among ``taken``, as Keras numbers layers.

    Example:
        >>> numbered_name("constant", {"constant", "constant_1"})
        'constant_2'
    """
    name, number = wanted, 0
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name
