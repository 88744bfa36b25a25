"""What threads share, and how they take turns at it: the weights of live models, and settings of the process.

One lock for the first, one for the second. Whatever is set for a while is counted: the last thread that needs it puts it back.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["CONVERTERS", "WEIGHTS", "TurnLock", "ignored_warnings", "raised_recursion_limit", "silent_standard_error"]


class TurnLock:
    """A lock that one thread holds at a time, as often as it likes.

    The replica threads of one call of ``tf.distribute`` count as one: TensorFlow runs them by turns, and one of them
    waits for the others in the middle of its work.

    Example:
        >>> lock = TurnLock()
        >>> with lock, lock:
        ...     "held"
        'held'
    """

    def __init__(self) -> None:
        self._free = threading.Condition(threading.Lock())
        self._holder: Any = None
        self._depth = 0

    def __enter__(self) -> None:
        thread = threading.current_thread()
        run = getattr(thread, "coord", None) or threading.get_ident()
        with self._free:
            while self._depth and self._holder != run:
                self._free.wait()
            self._holder = run
            self._depth += 1

    def __exit__(self, *error: object) -> None:
        with self._free:
            self._depth -= 1
            if not self._depth:
                self._holder = None
                self._free.notify()


#: Held while weights of a live layer are replaced for a call, and while weights of a live layer are read.
WEIGHTS = TurnLock()

#: Held while a converter of another package runs: converters keep state of their own, and print notes.
CONVERTERS = TurnLock()

_SETTINGS = threading.Lock()
_LIMITS: list[int] = []
_LIMIT_BEFORE = 0


@contextmanager
def raised_recursion_limit(calls: int) -> Iterator[None]:
    """Allow Python so many nested calls at least, until the last thread that asked for more than there were is done.

    Example:
        >>> before = sys.getrecursionlimit()
        >>> with raised_recursion_limit(before + 10):
        ...     sys.getrecursionlimit() - before
        10
        >>> sys.getrecursionlimit() - before
        0
    """
    global _LIMIT_BEFORE
    with _SETTINGS:
        if not _LIMITS:
            _LIMIT_BEFORE = sys.getrecursionlimit()
        _LIMITS.append(calls)
        sys.setrecursionlimit(max(_LIMIT_BEFORE, *_LIMITS))
    try:
        yield
    finally:
        with _SETTINGS:
            _LIMITS.remove(calls)
            sys.setrecursionlimit(max([_LIMIT_BEFORE, *_LIMITS]))


@contextmanager
def silent_standard_error() -> Iterator[None]:
    """Send what goes to the file descriptor of standard error nowhere. The caller holds :data:`CONVERTERS`.

    It takes what C++ code prints past Python. Where standard error is closed, nothing is done.
    """
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(silent)


class _InOneThread:
    """Takes the place of a pattern in Python's filters of warnings, and matches in one thread alone."""

    def __init__(self, message: str):
        self._pattern = re.compile(message, re.IGNORECASE)
        self._thread = threading.get_ident()

    def match(self, text: str) -> bool:
        return threading.get_ident() == self._thread and bool(self._pattern.match(text))


@contextmanager
def ignored_warnings(message: str = "") -> Iterator[None]:
    """Ignore warnings of this thread whose text begins as a regular expression says; those of other threads appear.

    ``warnings.catch_warnings`` exchanges the filters of the whole process, so that two threads leave each other's behind.

    Example:
        >>> with ignored_warnings("of no use"):
        ...     warnings.warn("of no use here")
    """
    ignored: Any = ("ignore", _InOneThread(message), Warning, None, 0)
    with _SETTINGS:
        filters: Any = warnings.filters
        filters.insert(0, ignored)
    try:
        yield
    finally:
        with _SETTINGS:
            lists: list[Any] = [filters, warnings.filters]
            for found in lists:
                if ignored in found:
                    found.remove(ignored)
