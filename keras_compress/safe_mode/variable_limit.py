"""limited_variables: a model of a file may ask for as much memory for its variables as the file can fill, and not for more."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_compress.errors import CompressionError

__all__ = ["limited_variables"]

#: What a model may have besides the numbers that are in its file, as counts and seeds, and by how much a file may be packed.
_SPARE = 1 << 26
_TIMES = 8


@contextmanager
def limited_variables(path: Path, stored: int | None) -> Iterator[None]:
    """Context in which variables cannot be made that are far larger than what a file holds.

    Args:
        path: of the file, for the message.
        stored: bytes in the file; None for no limit.

    Raises:
        CompressionError: a variable does not fit.
    """
    if stored is None:
        yield
        return
    limit = _TIMES * stored + _SPARE
    total = 0

    def create(next_creator: Callable[..., Any], **arguments: Any) -> Any:
        nonlocal total
        total += _size(arguments)
        if total > limit:
            raise CompressionError(
                f"The model in '{path}' asks for {total:,} bytes of variables, and the file has {stored:,}. Expected: the numbers "
                "of every variable in the file. It is damaged; save the model again."
            )
        return next_creator(**arguments)

    with tf.variable_creator_scope(create):
        yield


def _size(arguments: dict[str, Any]) -> int:
    """Return the bytes of a variable that is about to be made, 0 where they are not known."""
    shape = arguments.get("shape")
    dtype = arguments.get("dtype")
    try:
        sizes = tf.TensorShape(shape).as_list() if shape is not None else []
        return math.prod(size or 1 for size in sizes) * (tf.as_dtype(dtype).size if dtype is not None else 4)
    except (TypeError, ValueError):
        return 0
