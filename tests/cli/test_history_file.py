"""A history has a row for every epoch, is whole after each, and goes on where a training does."""

import csv

import numpy as np
import pytest

from keras_compress.errors import CompressionError, ExportError
from keras_compress_cli.history_file import HistoryFile


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_epoch_is_a_row_and_a_training_that_goes_on_repeats_none(tmp_path):
    path = tmp_path / "logs" / "history.csv"
    history = HistoryFile(path)
    for epoch in range(3):
        history.on_epoch_end(epoch, {"loss": np.float32(0.5), "accuracy": epoch / 4})
        assert [row["epoch"] for row in rows(path)] == [str(number) for number in range(epoch + 1)]
    assert path.read_text().splitlines()[0] == "epoch,accuracy,loss"
    history = HistoryFile(path, first_epoch=2)
    history.on_epoch_end(2, {"loss": 7.0, "val_loss": 8.0})
    assert [(row["epoch"], row["loss"], row["val_loss"]) for row in rows(path)] == [
        ("0", "0.5", "NA"),
        ("1", "0.5", "NA"),
        ("2", "7.0", "8.0"),
    ]
    assert rows(path)[2]["accuracy"] == "NA"
    HistoryFile(path).on_epoch_end(0, {"loss": [1, 2]})
    assert rows(path) == [{"epoch": "0", "loss": "[1, 2]"}]


def test_what_is_no_history_is_an_error(tmp_path):
    (tmp_path / "history.csv").write_text("name\nvalue\n")
    with pytest.raises(CompressionError, match="cannot be read as the history"):
        HistoryFile(tmp_path / "history.csv", first_epoch=1)
    with pytest.raises(ExportError, match="is a folder"):
        HistoryFile(tmp_path)
