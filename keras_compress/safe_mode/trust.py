"""Trust: whether files may do more than hold a model, in the code that runs inside of a scope. By default they may not.

A file is data as long as nothing that it names is imported, called, written or initialized. Who trusts a file says so at the
entry point (``trust=True``, ``--trust``); what reads files asks :func:`is_trusted`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from keras_compress.arguments import flag

__all__ = ["is_trusted", "trusting"]

_TRUSTED: ContextVar[bool] = ContextVar("trusted", default=False)


@contextmanager
def trusting(trust: bool) -> Iterator[None]:
    """Context in which files are trusted, or not; of scopes inside of each other the inner one counts.

    Args:
        trust: whether what a file names may be imported, called, written and initialized.

    Example:
        >>> with trusting(True):
        ...     is_trusted()
        True
    """
    token = _TRUSTED.set(flag("trust", trust))
    try:
        yield
    finally:
        _TRUSTED.reset(token)


def is_trusted() -> bool:
    """Return whether files are trusted here."""
    return _TRUSTED.get()
