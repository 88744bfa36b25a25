"""What a converter or a runtime says when it refuses a model: the reason in full, the layer it is about, and a way out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from keras_compress.errors import CompressionError, ExportError

__all__ = ["WAYS_OUT", "WHOLE_FILE", "explained", "reason_of"]

#: Lines that say where in the sources of a runtime an error passed by.
_PLACE = re.compile(r"\s*Exception from [\w./\\-]+:\d+:?\s*")
#: What can help where a file does not run in its runtime.
WAYS_OUT = (
    "Fix the batch with batch_size=1, keep the layer in floating point with 'ignored_scopes', or choose another format; "
    "if the file was changed or cut off, export the model again."
)
#: What is said where a file cannot be read.
WHOLE_FILE = f"Expected: a whole file in this format, as export_model writes it. {WAYS_OUT}"


def reason_of(error: BaseException, layers: Iterable[str] = ()) -> str:
    """Return what an error says, without the places it passed by, and which layers it names.

    Args:
        error: of another package.
        layers: paths of the layers of the model. Default: none.

    Example:
        >>> reason_of(RuntimeError("Exception from core.cpp:117:\\nReshape a/dense/Tensordot failed"), ["dense", "other"])
        "Reshape a/dense/Tensordot failed. It names layer 'dense'."
    """
    lines = [line.rstrip() for line in str(error).strip().splitlines() if not _PLACE.fullmatch(line)]
    text = "\n".join(line for line in lines if line) or str(error).strip() or type(error).__name__
    text = text if text.endswith((".", "!", "?")) else f"{text}."
    named = [layer for layer in layers if re.search(rf"(?<![\w.]){re.escape(layer)}(?!\w)", text)]
    if not named:
        return text
    listed = ", ".join(f"'{layer}'" for layer in named)
    return f"{text} It names layer{'s' if len(named) > 1 else ''} {listed}."


@contextmanager
def explained(problem: str, way_out: str = WAYS_OUT, layers: Iterable[str] = ()) -> Iterator[None]:
    """Turn every error of another package into an ExportError with its reason in full.

    Args:
        problem: what is wrong with what, without a full stop.
        way_out: a sentence that says what can help. Default: what helps where a runtime refuses a file.
        layers: as for :func:`reason_of`.
    """
    try:
        yield
    except CompressionError:
        raise
    except Exception as error:
        raise ExportError(f"{problem}: {reason_of(error, layers)} {way_out}") from error
