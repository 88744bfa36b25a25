"""Scope: which layers an algorithm may touch, by name or regular expression."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keras_compress.algorithms.regular_expression import search
from keras_compress.errors import ConfigError, close_matches

__all__ = ["Scope", "matches", "matching"]

_REGEX = "{re}"


def matches(pattern: str, path: str) -> bool:
    """Return whether a pattern names the layer at a path.

    Args:
        pattern: the whole path (``"backbone/conv1"``), the name of a nested model for everything inside it, or with
            ``{re}`` in front a regular expression searched in the path, in bounded time.
        path: of a layer.

    Example:
        >>> matches("backbone", "backbone/conv1"), matches("conv", "conv1"), matches("{re}conv[0-9]", "backbone/conv1")
        (True, False, True)
    """
    if pattern.startswith(_REGEX):
        return search(pattern[len(_REGEX) :], path)
    return path == pattern or path.startswith(pattern + "/")


def matching(patterns: Iterable[str], paths: Iterable[str], key: str) -> set[str]:
    """Return the paths that any of ``patterns`` names.

    Args:
        patterns: as in :func:`matches`.
        paths: of all layers of the model.
        key: of the configuration that holds the patterns, for the error.

    Raises:
        ConfigError: a pattern names no path; the message offers the nearest.
    """
    paths = list(paths)
    found: set[str] = set()
    for pattern in patterns:
        _require_regular_expression(pattern, key)
        named = [path for path in paths if matches(pattern, path)]
        if not named:
            close = close_matches(pattern.removeprefix(_REGEX), paths)
            hint = f" Nearest: {', '.join(close)}." if close else ""
            raise ConfigError(
                f"'{key}' names no layer of the model. Expected: a layer name, a nested model's name, or '{{re}}' and a "
                f'regular expression. Received: {key}={pattern!r}.{hint} Set "validate_scopes": false to allow it.'
            )
        found.update(named)
    return found


def _require_regular_expression(pattern: str, key: str) -> None:
    """Raise a ConfigError if a pattern with ``{re}`` is not a regular expression."""
    if not pattern.startswith(_REGEX):
        return
    try:
        search(pattern[len(_REGEX) :], "")
    except re.error as error:
        raise ConfigError(
            f"'{key}' holds something that is not a regular expression: {error}. Expected: '{{re}}' and an expression of "
            f"Python's re. Received: {pattern!r}. Leave '{{re}}' out for a plain name."
        ) from None


@dataclass(frozen=True)
class Scope:
    """The layers of a model that are allowed: all, or those of ``target``, without those of ``ignored``.

    Attributes:
        ignored, target: patterns as in :func:`matches`; ``target`` None means every layer.
        validate: whether a pattern that names nothing is an error. Default True.

    Raises:
        ConfigError: a pattern is no regular expression.

    Example:
        >>> scope = Scope(ignored=("head",))
        >>> "head" in scope, "stem" in scope
        (False, True)
    """

    ignored: tuple[str, ...] = ()
    target: tuple[str, ...] | None = None
    validate: bool = True

    def __post_init__(self) -> None:
        for pattern in self.ignored:
            _require_regular_expression(pattern, "ignored_scopes")
        for pattern in self.target or ():
            _require_regular_expression(pattern, "target_scopes")

    def __contains__(self, path: str) -> bool:
        if any(matches(pattern, path) for pattern in self.ignored):
            return False
        return self.target is None or any(matches(pattern, path) for pattern in self.target)

    def check(self, paths: Sequence[str]) -> None:
        """Raise a ConfigError if a pattern names none of ``paths``."""
        if self.validate:
            matching(self.ignored, paths, "ignored_scopes")
            matching(self.target or (), paths, "target_scopes")
