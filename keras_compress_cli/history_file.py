"""HistoryFile: the numbers of every epoch in a CSV file that is whole at any time."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress._keras import keras
from keras_compress.errors import CompressionError
from keras_compress.files import require_replaceable, write_file

__all__ = ["HistoryFile"]


class HistoryFile(keras.callbacks.Callback):
    """After every epoch, writes a CSV file with a row for each: ``epoch``, then the numbers of the logs by name.

    Args:
        path: of the file.
        first_epoch: where training begins; the rows before it are taken over from the file. Default 0: none are.

    Raises:
        CompressionError: the file cannot be read as a history.
        ExportError: something else than a file stands there.
    """

    def __init__(self, path: Path, first_epoch: int = 0):
        super().__init__()
        self._path = path
        require_replaceable(path)
        self._rows = _read(path, first_epoch) if first_epoch and path.exists() else []

    def on_epoch_end(self, epoch, logs=None):
        numbers = {name: _text(value) for name, value in sorted((logs or {}).items())}
        self._rows = [row for row in self._rows if int(row["epoch"]) < epoch] + [{"epoch": str(epoch), **numbers}]
        text = io.StringIO(newline="")
        names = dict.fromkeys(name for row in self._rows for name in row)
        writer = csv.DictWriter(text, list(names), restval="NA")
        writer.writeheader()
        writer.writerows(self._rows)
        write_file(self._path, text.getvalue())


def _text(value: Any) -> str:
    """Return a number of the logs as text; what is no single number as it prints itself."""
    array = np.asarray(value)
    return str(array.item()) if array.size == 1 else str(array.tolist())


def _read(path: Path, first_epoch: int) -> list[dict[str, str]]:
    """Return the rows of the epochs before the first one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{str(key): str(value) for key, value in row.items()} for row in csv.DictReader(file)]
        return [row for row in rows if int(row["epoch"]) < first_epoch]
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise CompressionError(
            f"'{path}' cannot be read as the history of a training: {type(error).__name__}: {error}. Expected: the file of the "
            "training that goes on. Move it away, or choose another folder."
        ) from None
