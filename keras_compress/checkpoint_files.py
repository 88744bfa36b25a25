"""Which checkpoints a folder holds: those whose files are all there, and the newest of them.

TensorFlow's own list of them is a file beside them, which names one that may be missing.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import tensorflow as tf

from keras_compress.arguments import checked_path
from keras_compress.errors import StateError

__all__ = ["checkpoint_number", "latest_checkpoint", "listed_checkpoint", "whole_checkpoints"]


def latest_checkpoint(directory: str | Path) -> str | None:
    """Return the path of the newest checkpoint in a folder whose files are there; None without any.

    Like ``tf.train.latest_checkpoint``, which knows the newest one only: where its files are missing, this warns and returns
    the newest of the others.

    Args:
        directory: the folder, as that of :class:`~keras_compress.callbacks.CheckpointManagerCallback`.

    Example:
        >>> print(latest_checkpoint("a folder that is not there"))
        None
    """
    folder = str(checked_path("directory", directory))
    try:
        newest = listed_checkpoint(folder)
        missing = "the list of them is" if newest is None else f"'{Path(newest).name}' is"
    except StateError:
        newest, missing = None, "the list of them is damaged,"
    if newest and _is_whole(newest):
        return newest
    whole = whole_checkpoints(folder)
    if not whole:
        return None
    warnings.warn(
        f"The newest checkpoint in '{folder}' cannot be read: {missing} missing or without its data. Going on from "
        f"'{Path(whole[-1]).name}', the newest one that is whole.",
        stacklevel=3,
    )
    return whole[-1]


def listed_checkpoint(directory: str | Path) -> str | None:
    """Return the path of the checkpoint that TensorFlow's list names as the newest, None without a list.

    Raises:
        StateError: the list cannot be read.
    """
    folder = str(directory)
    file = Path(folder) / "checkpoint"
    reason = "no file" if file.exists() and not file.is_file() else None
    try:
        named = None if reason else tf.train.get_checkpoint_state(folder)
    except (ValueError, tf.errors.OpError) as error:  # of text that is none, and of a list without a name
        reason = str(error)
    if reason:
        raise StateError(
            f"The list of checkpoints '{file}' cannot be read: {reason}. Expected: the file that TensorFlow writes beside checkpoints. "
            "Remove it, or choose another folder."
        )
    return None if named is None else named.model_checkpoint_path


def whole_checkpoints(directory: str | Path) -> list[str]:
    """Return the paths of the checkpoints in a folder whose files are all there, the newest last."""
    folder = str(directory)
    if not tf.io.gfile.isdir(folder):
        return []
    prefixes = [str(Path(folder) / name[: -len(".index")]) for name in tf.io.gfile.listdir(folder) if ".index" in name]
    return sorted((path for path in set(prefixes) if _is_whole(path)), key=checkpoint_number)


def checkpoint_number(path: str | Path) -> int:
    """Return the number in the name of a checkpoint or of one of its files; 0 without any."""
    found = re.search(r"-(\d+)(\.|$)", Path(path).name)
    return int(found.group(1)) if found else 0


def _is_whole(prefix: str) -> bool:
    if not tf.io.gfile.exists(prefix + ".index"):
        return False
    folder, name = str(Path(prefix).parent), Path(prefix).name
    parts = [found for file in tf.io.gfile.listdir(folder) if (found := _part(file, name))]
    return bool(parts) and len({number for number, _ in parts}) == parts[0][1]


def _part(file: str, name: str) -> tuple[int, int] | None:
    """Return the number of a file of data and how many there are, None for another file."""
    found = re.fullmatch(re.escape(name) + r"\.data-(\d{5})-of-(\d{5})", file)
    return (int(found.group(1)), int(found.group(2))) if found else None
