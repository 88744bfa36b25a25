"""Writing a file so that its path holds either the old or the complete new content."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from keras_compress.errors import ExportError

__all__ = ["write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, making missing folders; on failure what was there before stays.

    Raises:
        ExportError: the path is a folder, or the system refuses to write.
    """
    if path.is_dir():
        raise ExportError(f"'{path}' is a folder. Expected: the path of a file. Add a file name.")
    target = path.resolve()
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = str(target.parent / f".{target.name[:100]}.{secrets.token_hex(8)}")
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)  # less what the process masks
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            os.chmod(temporary, target.stat().st_mode & 0o777)
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise ExportError(f"'{path}' cannot be written: {error}. What was there before is unchanged.") from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
