"""FolderLock: a folder has one process that writes into it, for as long as that process lives and wants to.

The lock is that of the system on the folder itself, so it leaves no file and ends with its process, however that ends. Where
the system or the file system has no such locks, nothing is locked.
"""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path

from keras_compress.errors import CompressionError

try:
    import fcntl
except ImportError:  # a system without these locks
    fcntl = None  # type: ignore[assignment]

__all__ = ["FolderLock", "FolderLocked"]


class FolderLocked(CompressionError):  # noqa: N818  what is the case
    """Another process holds the lock of a folder."""


class FolderLock:
    """The right of this process to write into a folder. Within a process any number of them share it.

    It ends with :meth:`release`, when the object is deleted, or when the process ends. A forked process has no part in it.

    Args:
        folder: an existing folder.

    Raises:
        FolderLocked: another process has it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lock = FolderLock(folder)
        ...     lock.release()
    """

    def __init__(self, folder: str | Path):
        self._key = _take(Path(folder))
        self._end = weakref.finalize(self, _give_back, self._key)

    def release(self) -> None:
        """Let other processes write into the folder, once all locks of this process on it are released."""
        self._end()


#: The open folders of this process and how many locks there are on each, by device and number of the folder.
_HELD: dict[tuple[int, int], list[int]] = {}
_CHANGING = threading.RLock()


def _take(folder: Path) -> tuple[int, int] | None:
    """Lock a folder, or count one more lock on it; return its key, None where there are no locks."""
    if fcntl is None:
        return None
    with _CHANGING:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            status = os.fstat(descriptor)
            key = (status.st_dev, status.st_ino)
            if key in _HELD:
                os.close(descriptor)
                _HELD[key][1] += 1
                return key
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise FolderLocked(
                f"Another process writes into the folder '{folder}'. Expected: one training for one folder. Received: a second "
                "one. Wait until the other one has ended, or choose another folder."
            ) from None
        except OSError:  # a file system without these locks
            os.close(descriptor)
            return None
        _HELD[key] = [descriptor, 1]
        _forget_in_forked_processes()
        return key


def _give_back(key: tuple[int, int] | None) -> None:
    with _CHANGING:
        held = _HELD.get(key) if key is not None else None
        if key is None or held is None:
            return
        held[1] -= 1
        if held[1] == 0:
            os.close(held[0])
            del _HELD[key]


_registered: list[bool] = []


def _forget_in_forked_processes() -> None:
    """See to it that a forked process, which may live longer, does not keep the locks of this one."""
    if not _registered and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget)
        _registered.append(True)


def _forget() -> None:
    global _CHANGING
    _CHANGING = threading.RLock()
    for descriptor, _ in _HELD.values():
        os.close(descriptor)
    _HELD.clear()
