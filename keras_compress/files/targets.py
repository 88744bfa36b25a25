"""What may stand at a path that is to be written: nothing, or a file or a folder of the same kind.

A device, a pipe, a socket or a link is refused: what is written there goes elsewhere, or is lost.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from keras_compress.errors import ExportError
from keras_compress.special_files import special_kind

__all__ = ["require_folder", "require_replaceable"]


def require_replaceable(
    path: str | Path, *, folder: bool = False, foreign: Callable[[Path], Iterable[str]] | None = None
) -> None:
    """Refuse a path at which something stands that a new file or folder may not replace.

    Args:
        path: where to write. A link within the path is followed, a link at its end is refused.
        folder: whether a folder is to be written. Default: a file.
        foreign: returns the names in a folder that do not belong to what is replaced. Default: none does, so only an
            empty folder is replaced.

    Raises:
        ExportError: something else stands there.
    """
    path = Path(path)
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        raise ExportError(f"'{path}' cannot be written: {error}. Choose another path.") from None
    if stat.S_ISLNK(mode):
        raise ExportError(
            f"'{path}' is a link. Expected: the path of a {'folder' if folder else 'file'}. Received: a link to "
            f"'{os.readlink(path)}', which is left alone. Give the path that it points to, or remove the link."
        )
    kind = special_kind(mode)
    if kind is not None:
        raise ExportError(
            f"'{path}' is {kind}. Expected: the path of a {'folder' if folder else 'file'}. Received: {kind}, which is left "
            "alone. Choose another name."
        )
    if not folder and stat.S_ISDIR(mode):
        raise ExportError(f"'{path}' is a folder. Expected: the path of a file. Add a file name.")
    if folder and not stat.S_ISDIR(mode):
        raise ExportError(f"'{path}' is a file. Expected: the path of a folder. Choose another name.")
    if folder:
        others = sorted(os.listdir(path) if foreign is None else foreign(path))
        if others:
            listed = ", ".join(f"'{name}'" for name in others[:5]) + (", …" if len(others) > 5 else "")
            raise ExportError(
                f"'{path}' exists and holds other files: {listed}. Expected: a new or an empty folder, or one with nothing but "
                "what is replaced. Choose another name, or move these files."
            )


def require_folder(path: str | Path) -> Path:
    """Make a folder for further files, with the folders it is in; a link to a folder is followed.

    Returns:
        The path.

    Raises:
        ExportError: it cannot be made, or something else stands there.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ExportError(f"The folder '{path}' cannot be made: {error}. Choose another path.") from None
    return path
