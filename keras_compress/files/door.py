"""The one door for files: everything is written beside its place first, and moved there as a whole when it is complete.

A process that is killed leaves the old content or the new one, and perhaps a folder ``.keras_compress-…`` that can be deleted.
Of several files that belong together some can be new and others old then; a format that has such files can tell.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from keras_compress.errors import ExportError
from keras_compress.files.moves import NotPutBack, move_together, recover
from keras_compress.files.targets import require_replaceable

__all__ = ["replacing", "write_file"]

#: Beginning of the names of the folders in which files are completed.
STAGING = ".keras_compress-"


def write_file(path: str | Path, content: bytes | str) -> Path:
    """Write a file, making missing folders; on failure what was there before stays.

    Args:
        path: of the file.
        content: bytes, or text that is written as UTF-8.

    Returns:
        The path.

    Raises:
        ExportError: something else than a file stands there, or the system refuses to write.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_file(Path(folder) / "new" / "a.txt", "text").read_text()
        'text'
    """
    with replacing(path) as staged:
        staged.write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(path)


@contextmanager
def replacing(
    path: str | Path,
    *,
    beside: Sequence[str | Path] = (),
    folder: bool = False,
    foreign: Callable[[Path], Iterable[str]] | None = None,
    overwrite: bool = False,
) -> Iterator[Path]:
    """Give a place to write to; what is written there takes the place of ``path`` when the block ends without an error.

    Whatever the block writes into the folder of that place is moved beside ``path`` under its own name.

    Args:
        path: where the file or the folder is to be. Missing folders are made.
        beside: paths of files in the same folder that the block writes as well, to be looked at before it.
        folder: whether the block writes a folder. Default: a file.
        foreign: of a folder, see :func:`~keras_compress.files.targets.require_replaceable`.
        overwrite: whether a file beside ``path`` is replaced even if there is no ``path`` that it belongs to. Default False.

    Raises:
        ExportError: something stands at one of the paths that may not be replaced, or the system refuses to write. What
            was there before is unchanged.
    """
    path = Path(path)
    target = path if path.name not in ("", "..") else path.resolve()
    made = _missing_folders(target.parent)
    staging: Path | None = None
    complete = False
    try:
        _require_replaceable(target, [target.name, *(Path(other).name for other in beside)], folder, foreign, overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        if folder:
            recover(target, STAGING)
        staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=STAGING))
        new, old = staging / "new", staging / "old"
        new.mkdir()
        old.mkdir()
        yield new / target.name
        names = _in_order(new, target.name)
        _require_replaceable(target, names, (new / target.name).is_dir(), foreign, overwrite)
        for name in names:
            _flush(new / name)
        move_together(new, target.parent, old, names)
        complete = True
    except NotPutBack:
        staging = None  # which holds the old one
        raise
    except OSError as error:
        raise ExportError(f"'{path}' cannot be written: {error}. What was there before is unchanged.") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        if not complete:
            for empty in made:
                with suppress(OSError):
                    empty.rmdir()


def _require_replaceable(
    target: Path, names: Sequence[str], folder: bool, foreign: Callable[[Path], Iterable[str]] | None, overwrite: bool
) -> None:
    """Refuse what may not be replaced; files beside the target belong to it only if it is there itself."""
    require_replaceable(target, folder=folder, foreign=foreign)
    first, *others = [target.parent / name for name in names]
    for other in [first, *others]:
        if other != target:
            require_replaceable(other)
    for other in others:
        if other.exists() and not (overwrite or first.exists()):
            raise ExportError(
                f"'{other}' exists, and there is no '{target}' that it belongs to. Expected: a name with nothing beside it, or "
                "an earlier export. Choose another name, remove the file, or pass overwrite=True ('--overwrite' in the command "
                "line)."
            )


def _in_order(new: Path, name: str) -> list[str]:
    """Return what was written: the main file first, so that none beside it is ever alone."""
    names = sorted(os.listdir(new))
    if not names:
        raise FileNotFoundError("nothing was written")
    return sorted(names, key=lambda other: (other != name, not other.endswith(".index"), other))


def _flush(path: Path) -> None:
    """Bring a file, or the files of a folder, to the disk."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


def _missing_folders(folder: Path) -> list[Path]:
    """Return the folders that will have to be made, the innermost first."""
    missing = []
    while not os.path.lexists(folder) and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    return missing
