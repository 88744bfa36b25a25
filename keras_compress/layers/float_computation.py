"""computing_in_float: compressed layers use their float weights and pass activations on, for as long as a context lasts.

So a compressed model tells what the model that it was made from computes, without a copy of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["computes_in_float", "computing_in_float"]

_OF_THIS_THREAD = threading.local()


@contextmanager
def computing_in_float() -> Iterator[None]:
    """Let all compressed models compute in floating point, without masks, binarizers and quantizers, in the thread that asked for it.

    A graph traced inside computes so for good: trace a function of its own there.

    Example:
        >>> import tensorflow as tf
        >>> from keras_compress.layers import SymmetricFakeQuantize
        >>> quantizer = SymmetricFakeQuantize()
        >>> with computing_in_float():
        ...     quantizer(tf.constant([100.0])).numpy().tolist()
        [100.0]
    """
    before = computes_in_float()
    try:
        _OF_THIS_THREAD.active = True
        yield
    finally:
        _OF_THIS_THREAD.active = before


def computes_in_float() -> bool:
    """Return whether compressed layers compute in floating point at present."""
    return getattr(_OF_THIS_THREAD, "active", False)
