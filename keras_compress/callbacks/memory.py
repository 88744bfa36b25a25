"""What a callback remembers, read from a checkpoint and checked before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_compress.errors import StateError, short_repr

__all__ = ["read_memory"]


def read_memory(owner: str, memory: Mapping[str, Any], kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return the named values of a memory.

    Args:
        owner: the class of the callback, for the error.
        memory: what the checkpoint holds.
        kinds: the type of each value; a whole number is taken for ``float`` too.

    Raises:
        StateError: a value is missing or of another type.

    Example:
        >>> read_memory("SaveBestCompressed", {"best": 1, "seen": True}, {"best": float, "seen": bool})
        {'best': 1.0, 'seen': True}
    """
    found = {}
    for name, kind in kinds.items():
        value: Any = memory.get(name)
        if kind is float and type(value) is int and abs(value) < 2**63:
            value = float(value)
        fits = type(value) is kind and not (isinstance(value, int) and not -(2**63) < value < 2**63)
        if not fits:
            raise StateError(
                f"What {owner} remembers in the checkpoint is damaged: '{name}' is {short_repr(value)}. Expected: a "
                f"{kind.__name__}. Use another checkpoint."
            )
        found[name] = value
    return found
