"""Checks of what a user hands to a public function, before anything is built: whole numbers, flags, choices, names, paths.

Each returns the value in its plain form, or raises an error that names the argument, what was expected and received, and a
way out. Nothing is opened or written here.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.errors import CompressionError, ConfigError, close_matches, short_repr
from keras_compress.special_files import special_kind

__all__ = [
    "checked_names",
    "checked_path",
    "choice",
    "flag",
    "function",
    "mapping",
    "number",
    "text",
    "whole_number",
    "wrong",
]

Kind = type[CompressionError]


def wrong(name: str, expected: str, received: Any, way_out: str = "", kind: Kind = ConfigError) -> CompressionError:
    """Return the error about an argument.

    Args:
        name: of the argument.
        expected: what it may be.
        received: what it is.
        way_out: a sentence. Default: to pass what is expected.
        kind: of the error.

    Example:
        >>> str(wrong("rounds", "a whole number", "x"))
        "Wrong value for 'rounds'. Expected: a whole number. Received: 'x'. Pass rounds=… as expected, or leave it out."
    """
    way_out = way_out or f"Pass {name}=… as expected, or leave it out."
    return kind(f"Wrong value for '{name}'. Expected: {expected}. Received: {short_repr(received)}. {way_out}")


def whole_number(name: str, value: Any, least: int, most: int | None = None, kind: Kind = ConfigError) -> int:
    """Return a whole number in a range."""
    ends = f"{least} or more" if most is None else f"from {least} to {most}"
    whole = int(value) if isinstance(value, Integral) and not isinstance(value, (bool, np.bool_)) else least - 1
    if not least <= whole <= (2**31 - 1 if most is None else most):
        raise wrong(name, f"a whole number, {ends}", value, kind=kind)
    return whole


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf, kind: Kind = ConfigError) -> float:
    """Return a finite number in a range, its ends included."""
    bounds = {
        (False, False): "a finite number",
        (True, False): f"a finite number, {low:g} or more",
        (False, True): f"a finite number, {high:g} or less",
        (True, True): f"a number from {low:g} to {high:g}",
    }[low != -math.inf, high != math.inf]
    try:
        real = float(value) if isinstance(value, Real) and not isinstance(value, (bool, np.bool_)) else math.nan
    except OverflowError:
        real = math.inf
    if not (math.isfinite(real) and low <= real <= high):
        raise wrong(name, bounds, value, kind=kind)
    return real


def flag(name: str, value: Any, kind: Kind = ConfigError) -> bool:
    """Return True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise wrong(name, "True or False", value, kind=kind)
    return bool(value)


def choice(name: str, value: Any, allowed: Iterable[str], kind: Kind = ConfigError, join: str = ", ") -> str:
    """Return one of a few words; a member of an enum counts by its value."""
    allowed, plain = list(allowed), getattr(value, "value", value)
    if not isinstance(plain, str) or plain not in allowed:
        near = close_matches(plain, allowed, 1) if isinstance(plain, str) else []
        raise wrong(name, join.join(map(repr, allowed)), value, f"Did you mean '{near[0]}'?" if near else "", kind)
    return str(plain)


def text(name: str, value: Any, kind: Kind = ConfigError) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value or value != value.encode(errors="replace").decode():
        raise wrong(name, "a text", value, kind=kind)
    return value


def function(name: str, value: Any, kind: Kind = ConfigError) -> Callable[..., Any]:
    """Return a function."""
    if not callable(value):
        raise wrong(name, "a function", value, kind=kind)
    return value


def mapping(name: str, value: Any, kind: Kind = ConfigError) -> Mapping[Any, Any]:
    """Return a dict whose keys are texts."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise wrong(name, "a dict with names as its keys", value, kind=kind)
    return value


def checked_names(name: str, value: Any, kind: Kind = ConfigError) -> list[str]:
    """Return a list of names; a single one may come by itself."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not all(_is_name(item) for item in listed):
        raise wrong(
            name, "a name, or a list of names, without spaces around them and control characters", value, kind=kind
        )
    return list(listed)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and value == value.strip() and bool(value)


def checked_path(name: str, value: Any, kind: Kind = ConfigError, *, exists: bool = False) -> Path:
    """Return the path of a file or a folder.

    Args:
        name: of the argument.
        value: a text or what has a path, as the report of an export.
        kind: of the error.
        exists: whether there has to be something at that path. Default False.

    Example:
        >>> checked_path("path", "a/b.onnx").name
        'b.onnx'
    """
    expected = "the path of an existing file" if exists else "a path, as 'models/model.onnx'"
    if not isinstance(value, (str, os.PathLike)):
        raise wrong(name, expected, value, f"Pass {name}=… as a text or a pathlib.Path.", kind)
    try:
        plain = os.fspath(value)
        if not isinstance(plain, str) or not plain.strip():
            raise wrong(name, expected, value, f"Pass {name}=… as a text that is not empty.", kind)
        plain.encode()  # a name that is no text could be in no report
        path = Path(plain)
        special = special_kind(os.stat(path).st_mode)
        if special is not None:  # whoever opens it could wait forever
            raise kind(
                f"'{path}' is {special}. Expected: {expected} for '{name}'. Received: {special}, which is left alone. Choose another "
                "path, or write what it gives into a file first."
            )
    except FileNotFoundError:
        if exists:
            raise kind(
                f"'{path}' does not exist. Expected: {expected} for '{name}'. Received: {short_repr(plain)}. Export the model "
                "first, or check the path."
            ) from None
    except CompressionError:
        raise
    except (OSError, ValueError, TypeError) as error:  # too long, a NUL byte, a file in the place of a folder
        raise kind(
            f"Wrong value for '{name}', which cannot be written or read: {_why(error)}. Expected: {expected}. Received: "
            f"{short_repr(value)}. Choose another path."
        ) from None
    return path


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "this one is no text"
    codes = {errno.ENAMETOOLONG: "this one is too long", errno.ENOTDIR: "a file is in the place of a folder"}
    if isinstance(error, OSError) and error.errno is not None:
        return codes.get(error.errno, os.strerror(error.errno))
    return str(error)
