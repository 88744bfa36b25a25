"""Searching names by regular expressions in a time that is bounded, whatever the expression.

Python's ``re`` tries one way after the other, and a repetition inside a repetition has exponentially many. An expression
that could take long is carried out here on sets of positions instead: all ways at once, in a time that grows with the
length of the expression and the square of the length of the text. What a set of positions cannot tell, as what a group
held, is refused.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import Any

from keras_compress.errors import ConfigError, short_repr

__all__ = ["search"]

#: Python's own parser of expressions; its modules have other names in Python 3.10.
_parser, _compiler, codes = (
    import_module(f"re._{name}" if sys.version_info >= (3, 11) else f"sre_{old}")
    for name, old in (("parser", "parse"), ("compiler", "compile"), ("constants", "constants"))
)
#: So many repetitions and alternatives side by side are left to ``re``. It tries all their lengths from every start, so a long
#: text has too many ways all the same.
SIDE_BY_SIDE = 3
WAYS, MOST_WAYS = 20_000_000, 10**10
_REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT)
#: What is never tried in another way once it has matched; Python 3.10 has none of these.
_POSSESSIVE, _ATOMIC = (getattr(codes, name, None) for name in ("POSSESSIVE_REPEAT", "ATOMIC_GROUP"))
_ASSERTIONS = (codes.ASSERT, codes.ASSERT_NOT)
_SINGLE = (codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.IN)


@lru_cache(maxsize=65536)
def search(expression: str, text: str) -> bool:
    """Return whether a regular expression matches anywhere in a text, as ``re.search`` does.

    Raises:
        re.error: it is no regular expression, or one that may take forever and cannot be bounded.
        ConfigError: it cannot be bounded, and this text is too long for it.

    Example:
        >>> search("conv[0-9]", "backbone/conv1"), search(r"(\\w+)+!", "a" * 1000)
        (True, False)
    """
    _, choices = _parsed(expression)
    if choices > SIDE_BY_SIDE:
        return _positions(expression).matches(text)
    ways = math.comb(len(text) + int(choices) + 1, int(choices) + 1)
    if ways > WAYS:
        with suppress(re.error):
            return _positions(expression).matches(text)
        if ways > MOST_WAYS:
            raise ConfigError(
                f"The regular expression {short_repr(expression)} could take forever on a name of {len(text)} letters. Expected: no "
                f"back-reference or atomic group beside repetitions. Received: the name {short_repr(text)}. Write it without those."
            )
    return re.compile(expression).search(text) is not None


@lru_cache(maxsize=1024)
def _parsed(expression: str) -> tuple[Any, float]:
    """Return the parsed expression, and how many choices stand side by side in it; infinitely many inside a repetition."""
    try:
        re.compile(expression)
        tree = _parser.parse(expression)
        return tree, _choices(tree)
    except RecursionError:
        raise re.error("it is nested too deeply") from None
    except OverflowError as error:
        raise re.error(str(error)) from None


@lru_cache(maxsize=1024)
def _positions(expression: str) -> _Positions:
    tree, _ = _parsed(expression)
    _refuse_memory(tree)
    return _Positions(tree, tree.state.flags)


def _choices(tree: Any) -> float:
    choices = 0
    for code, argument, depth in _items(tree, 0):
        repeats = code in _REPEATS or code is _POSSESSIVE
        if repeats and argument[0] > 1 and not argument[2].getwidth()[0]:
            return math.inf  # what takes no character can be repeated more often than a text is long
        choice = code is codes.BRANCH or (code in _REPEATS and argument[0] != argument[1])
        if choice and depth:
            return math.inf
        choices += choice or code is _POSSESSIVE
    return choices


def _items(tree: Any, depth: int) -> Iterable[tuple[Any, Any, int]]:
    """Yield every item of a parsed expression with the number of repetitions it stands in, and is tried again by."""
    for code, argument in tree:
        yield code, argument, depth
        inside = 0 if code in (_ATOMIC, _POSSESSIVE) else depth
        inside += (code in _REPEATS or code is _POSSESSIVE) and argument[1] > 1
        for part in _parts(argument):
            yield from _items(part, inside)


def _parts(argument: Any) -> Iterable[Any]:
    """Yield the expressions that the argument of an item holds, of whatever kind the item is."""
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, (tuple, list)):
        for part in argument:
            yield from _parts(part)


def _refuse_memory(tree: Any) -> None:
    for code, _, _ in _items(tree, 0):
        if code not in (*_SINGLE, *_REPEATS, *_ASSERTIONS, codes.BRANCH, codes.SUBPATTERN, codes.AT):
            raise re.error(
                f"it repeats what is repeated, or more than {SIDE_BY_SIDE} times side by side, which can take forever, and holds a "
                "back-reference, a condition, an atomic group or a possessive repetition. Write it without those, or without a "
                "repetition inside a repetition"
            )


class _Positions:
    """A parsed expression that is matched at all positions of a text at once.

    Args:
        tree: the expression, without anything that remembers.
        flags: of ``re``.
    """

    def __init__(self, tree: Any, flags: int):
        self._tree, self._flags = tree, flags
        self._compiled: dict[tuple[int, int], re.Pattern] = {}

    def matches(self, text: str) -> bool:
        return bool(self._after(self._tree, set(range(len(text) + 1)), text, self._flags))

    def _after(self, tree: Any, starts: set[int], text: str, flags: int) -> set[int]:
        """Return every position at which a match of a sequence may end that begins at one of ``starts``."""
        for item in tree:
            if not starts:
                break
            starts = self._after_item(item, starts, text, flags)
        return starts

    def _after_item(self, item: Any, starts: set[int], text: str, flags: int) -> set[int]:
        code, argument = item
        if code is codes.SUBPATTERN:
            _, added, removed, tree = argument
            return self._after(tree, starts, text, (flags | added) & ~removed)
        if code is codes.BRANCH:
            return set().union(*(self._after(tree, starts, text, flags) for tree in argument[1]))
        if code in _REPEATS:
            least, most, tree = argument
            return self._after_repeat(least, most, tree, starts, text, flags)
        if code in _ASSERTIONS:
            direction, tree = argument
            wanted = code is codes.ASSERT
            return {at for at in starts if self._holds(tree, direction, at, text, flags) is wanted}
        pattern = self._leaf(item, flags)
        found = (pattern.match(text, at) for at in starts)
        return {match.end() for match in found if match is not None}

    def _after_repeat(self, least: int, most: int, tree: Any, starts: set[int], text: str, flags: int) -> set[int]:
        for _ in range(least):
            before, starts = starts, self._after(tree, starts, text, flags)
            if starts in (before, set()):
                break
        reached, fresh, times = set(starts), starts, least
        while fresh and times < most:
            fresh = self._after(tree, fresh, text, flags) - reached
            reached |= fresh
            times += 1
        return reached

    def _holds(self, tree: Any, direction: int, at: int, text: str, flags: int) -> bool:
        if direction > 0:
            return bool(self._after(tree, {at}, text, flags))
        start = at - tree.getwidth()[0]
        return start >= 0 and at in self._after(tree, {start}, text, flags)

    def _leaf(self, item: Any, flags: int) -> re.Pattern:
        """Return the compiled pattern of an item that takes one character or none."""
        key = id(item), flags
        if key not in self._compiled:
            state = _parser.State()
            state.flags, state.str = flags, ""
            self._compiled[key] = _compiler.compile(_parser.SubPattern(state, [item]), flags)
        return self._compiled[key]
