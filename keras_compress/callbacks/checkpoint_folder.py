"""CheckpointFolder: the folder that checkpoints are written into. It has one writer, and nothing outside of it is touched."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from keras_compress.errors import ExportError, StateError
from keras_compress.files import FolderLock, require_folder
from keras_compress.files.folder_lock import FolderLocked

__all__ = ["CheckpointFolder"]

#: What belongs to the checkpoint of a number: its files, and the folder in which TensorFlow completes them.
_FILE = re.compile(r"ckpt-(\d+)(?:\.index|\.data-\d{5}-of-\d{5}|_temp)")
#: How TensorFlow is asked to name checkpoints.
_PREFIX = re.compile(r"ckpt-\d+")


class CheckpointFolder:
    """A folder of checkpoints that this process may write into.

    Args:
        path: made if missing.

    Raises:
        StateError: it cannot be made, or another process writes into it.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._begun: dict[int, set[str]] = {}
        try:
            require_folder(self.path)
            self._lock = FolderLock(self.path)
        except (ExportError, FolderLocked, OSError) as error:
            raise StateError(f"No checkpoint can be written into '{self.path}': {error}") from None

    def highest_number(self) -> int:
        """Return the highest number of a complete checkpoint, 0 without any."""
        numbers = [_number(name) for name in self._names() if name.endswith(".index")]
        return max((number for number in numbers if number is not None), default=0)

    def require_own(self, checkpoints: Iterable[str | None]) -> None:
        """Refuse a list of checkpoints with one that is not directly in the folder, since the oldest of them are deleted.

        Raises:
            StateError: there is such a one.
        """
        folder = os.path.normpath(self.path)
        for checkpoint in checkpoints:
            if checkpoint is None:
                continue
            parent, name = os.path.split(checkpoint)
            if os.path.normpath(parent) != folder or not _PREFIX.fullmatch(name):
                raise StateError(
                    f"The list of checkpoints '{self.path / 'checkpoint'}' names one that this callback did not write. Expected: "
                    f"names as 'ckpt-1' of files in the folder itself. Received: '{checkpoint}'. Remove the list, or choose another "
                    "folder."
                )

    def begin(self, number: int) -> None:
        """Say that the checkpoint of a number is about to be written.

        Raises:
            StateError: a link is in the place of one of its files.
        """
        before = self._names()
        self._begun[number] = set(before)
        for old in sorted(self._begun)[:-2]:  # the one before can still be written, in the background
            del self._begun[old]
        for name in sorted(before):
            if (name == "checkpoint" or _number(name) == number) and (self.path / name).is_symlink():
                raise StateError(
                    f"'{self.path / name}' is a link. Expected: a file of a checkpoint, or nothing. Received: a link, which is left "
                    "alone. Remove it, or choose another folder."
                )

    def remove_remains(self, complete: Iterable[str]) -> None:
        """Delete what was written of a number since :meth:`begin` announced it, unless its checkpoint is complete."""
        whole = {_number(f"{checkpoint}.index") for checkpoint in complete}
        for name in self._names():
            number = _number(name)
            if number is None or number in whole or name in self._begun.get(number, {name}):
                continue
            file = self.path / name
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file, ignore_errors=True)
            else:
                file.unlink(missing_ok=True)

    def release(self) -> None:
        """Let other processes write into the folder."""
        self._lock.release()

    def _names(self) -> list[str]:
        return os.listdir(self.path) if self.path.is_dir() else []


def _number(name: str) -> int | None:
    found = _FILE.fullmatch(name)
    return int(found.group(1)) if found else None
