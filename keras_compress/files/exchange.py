"""Two paths exchanged in one step, where the system can: at no moment is there nothing at one of them."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["exchange"]

#: Constants of Linux: paths relative to the working folder, and the flag of ``renameat2`` that exchanges.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
#: What systems and file systems answer that do not know the flag.
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


def exchange(first: Path, second: Path) -> bool:
    """Let two paths change places.

    Returns:
        Whether it was done; False where the system or the file system cannot.

    Raises:
        OSError: the system can, and refuses.

    Source: rename(2) in the Linux manual, ``RENAME_EXCHANGE``.
    """
    rename = _renameat2()
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number), str(second))


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    """Return the function of the C library; None where there is none."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # another system, or an older library
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return function
