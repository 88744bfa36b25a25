"""The errors of the package. Each message says what is wrong with what, what was expected and one way out."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "AccuracyTargetNotMet",
    "CompressionError",
    "ConfigError",
    "DataError",
    "ExportAuditError",
    "ExportError",
    "Mistake",
    "StateError",
    "UnsupportedModelError",
    "UntrustedFileError",
    "close_matches",
    "short_repr",
]


class CompressionError(Exception):
    """Base of every error that keras_compress raises on purpose."""


class UnsupportedModelError(CompressionError, TypeError):
    """The model is of a kind that cannot be rewritten; the message says which kind can."""


@dataclass(frozen=True)
class Mistake:
    """One mistake in a configuration. ``str`` gives the whole sentence.

    Attributes:
        path: of the key, as ``"compression[0].params.schedule"``.
        problem: what is wrong, with the path.
        details: what was expected and received.
    """

    path: str
    problem: str
    details: str

    def __str__(self) -> str:
        return f"{self.problem} {self.details}"


class ConfigError(CompressionError, ValueError):
    """A configuration holds a wrong key, type, value or scope.

    Attributes:
        mistakes: each mistake with the path of its key, where the message lists several; else empty.
    """

    def __init__(self, message: str, mistakes: Iterable[Mistake] = ()):
        super().__init__(message)
        self.mistakes = tuple(mistakes)


class DataError(CompressionError, ValueError):
    """Calibration data do not fit the model: wrong shape, wrong names, NaN or infinite values, too few samples."""


class StateError(CompressionError, ValueError):
    """A saved compression state does not belong to this model or this version."""


class UntrustedFileError(CompressionError, ValueError):
    """A file is a program, and is not trusted: it names code, or functions and operations that do more than compute."""


class ExportError(CompressionError, RuntimeError):
    """A file could not be written; one that was there before is untouched."""


class ExportAuditError(ExportError):
    """An exported file does not hold what it should; the message names every weight that is not compressed."""


class AccuracyTargetNotMet(CompressionError, RuntimeError):  # noqa: N818  what happened, in words
    """No quantized model was found whose accuracy drops as little as was asked for.

    Attributes:
        model: the best one that was found, a compressed Keras model.
        report: the :class:`~keras_compress.post_training.AccuracyReport` of the search.
    """

    def __init__(self, message: str, model: Any, report: Any):
        super().__init__(message)
        self.model = model
        self.report = report


def close_matches(name: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """Return up to ``count`` candidates that look most like ``name``, best first.

    Args:
        name: what was received.
        candidates: what may have been meant.
        count: how many at most. Default 3.
    """
    candidates = list(dict.fromkeys(candidates))
    close = difflib.get_close_matches(name, candidates, n=count, cutoff=0.4)
    lowered = name.lower()
    partial = [candidate for candidate in candidates if lowered in candidate.lower() and candidate not in close]
    return (close + partial)[:count]


def short_repr(value: object) -> str:
    """Return a value as a message shows it: as ``repr`` does, but short and not too deep, whatever it is."""
    try:
        return _REPRESENTATION.repr(value)
    except Exception:  # of an integer with thousands of digits, or of a class of the user's
        return f"an object of class {type(value).__name__}"


_REPRESENTATION = reprlib.Repr()
_REPRESENTATION.maxlevel, _REPRESENTATION.maxlist, _REPRESENTATION.maxtuple, _REPRESENTATION.maxdict = 4, 12, 12, 12
_REPRESENTATION.maxstring = _REPRESENTATION.maxother = _REPRESENTATION.maxlong = 200
