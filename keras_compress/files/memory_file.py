"""MemoryFile: a path that holds its own content, for writers that end the process where a disk is full, as HDF5 does."""

from __future__ import annotations

import io
from typing import Any

__all__ = ["MemoryFile"]


class MemoryFile(str):
    """A path as text that can be written and read like an open file; nothing is on the disk.

    ``h5py.File`` takes it for an open file, and Keras for a path, by whose ending it knows the format.

    Example:
        >>> file = MemoryFile("model.h5")
        >>> file.endswith(".h5"), file.write(b"content"), file.content
        (True, 7, b'content')
    """

    _stream: io.BytesIO

    def __new__(cls, path: str) -> MemoryFile:
        file = super().__new__(cls, path)
        file._stream = io.BytesIO()
        return file

    def __str__(self) -> str:
        return self  # and not its text alone

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def content(self) -> bytes:
        """What was written."""
        return self._stream.getvalue()
