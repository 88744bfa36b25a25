"""Moving what is complete to its place: every single move in one step, several together or, on an error, none."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from keras_compress.errors import ExportError
from keras_compress.files.exchange import exchange

__all__ = ["NotPutBack", "move_together", "recover"]


class NotPutBack(ExportError):  # noqa: N818  what is the case
    """What was replaced could not be put back after an error; the message says where it is."""


def move_together(new: Path, parent: Path, old: Path, names: Sequence[str]) -> None:
    """Move files or folders over old ones, in order; on an error the old ones are put back.

    Args:
        new: the folder that holds what is complete, on the same file system.
        parent: where to move it.
        old: an empty folder beside ``new`` for what is replaced.
        names: what to move.

    Raises:
        OSError: the system refuses. What was there before is there again.
        NotPutBack: the system refuses that as well.
    """
    for name in names:
        _take_over_mode(new / name, parent / name)
        if len(names) > 1 and (parent / name).is_file():
            _second_name(parent / name, old / name)
    moved: list[str] = []
    try:
        for name in names:
            if (new / name).is_dir():
                _move_folder(new / name, parent / name, old / name)
            else:
                os.replace(new / name, parent / name)
            moved.append(name)
    except BaseException:
        for name in moved:
            _put_back(old / name, parent / name)
        raise


def recover(target: Path, prefix: str) -> None:
    """Put a folder back that a process had moved away when it was killed; do nothing if there is none or ``target`` is there.

    Args:
        target: where the folder belongs.
        prefix: beginning of the names of the folders in which processes complete files.
    """
    if os.path.lexists(target):
        return
    kept = [folder / "old" / target.name for folder in target.parent.glob(f"{prefix}*")]
    for old in kept:
        if old.is_dir() and not old.is_symlink():
            os.rename(old, target)
            return


def _move_folder(new: Path, target: Path, old: Path) -> None:
    """Move a folder to its place; one that is there is exchanged, where the system cannot, moved away first."""
    if not target.exists():
        os.rename(new, target)
        return
    if exchange(new, target):
        return
    os.rename(target, old)
    try:
        os.rename(new, target)
    except BaseException:
        _put_back(old, target)
        raise


def _take_over_mode(new: Path, target: Path) -> None:
    """Give what is new the permissions of what it replaces."""
    if target.exists():
        os.chmod(new, stat.S_IMODE(target.stat().st_mode) & 0o777)


def _second_name(path: Path, second: Path) -> None:
    """Keep a file under a second name."""
    try:
        os.link(path, second)
    except OSError:  # a file system without links
        shutil.copy2(path, second)


def _put_back(old: Path, target: Path) -> None:
    """Put what was replaced back under its name, or remove the file that was moved to where nothing was."""
    try:
        if old.exists():
            os.replace(old, target)
        else:
            target.unlink(missing_ok=True)
    except OSError as error:
        raise NotPutBack(
            f"'{target}' could not be replaced, and the old one could not be put back: {error}. Expected: a folder that can be "
            f"written. Received: an error at both. The old one is '{old}': move it back by hand."
        ) from error
