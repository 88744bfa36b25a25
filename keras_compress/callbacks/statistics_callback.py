"""StatisticsCallback: writes the numbers of compression into the logs of ``fit``, to TensorBoard and to the screen."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.controller import CompressionController
from keras_compress.distribution import is_chief
from keras_compress.files import require_folder
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer
from keras_compress.reports import CompressionStatistics

__all__ = ["StatisticsCallback"]

HISTOGRAM_BINS, HISTOGRAM_SAMPLES = 64, 100_000


class StatisticsCallback(keras.callbacks.Callback):
    """After every epoch, adds ``<algorithm>/<number>`` and ``compression_stage`` (0 to 2) to the logs.

    Put it before callbacks that read the logs, as ``CSVLogger``.

    Args:
        controller: from ``create_compressed_model``.
        log_dir: scalars and histograms of the compressed weights for TensorBoard go to ``log_dir/compression``; None
            writes none.
        log_text: also print them, with a table of the levels by layer.
    """

    def __init__(
        self, controller: CompressionController, log_dir: str | os.PathLike | None = None, *, log_text: bool = False
    ):
        super().__init__()
        self._controller = controller
        self._log_dir = log_dir
        self._log_text = log_text
        self._writer: tf.summary.SummaryWriter | None = None

    def on_train_begin(self, logs=None):
        chief = is_chief(self.model.distribute_strategy)
        self._log_text = self._log_text and chief
        if self._log_dir is not None and chief:
            self._writer = tf.summary.create_file_writer(str(require_folder(Path(self._log_dir) / "compression")))
        if self._log_text:
            _say(self._controller.statistics(quickly_collected_only=True))

    def on_epoch_end(self, epoch, logs=None):
        numbers = {"compression_stage": float(self._controller.compression_stage())}
        for name, statistics in self._controller.algorithm_statistics().items():
            numbers.update({f"{name}/{key}": float(value) for key, value in statistics.items()})
        if logs is not None:
            logs.update(numbers)
        if self._writer is None and not self._log_text:
            return
        table = self._controller.statistics(quickly_collected_only=True)
        if self._writer is not None:
            with self._writer.as_default(step=self._controller.scheduler.current_epoch):
                for key, value in numbers.items():
                    _write_scalar(f"2.compression/statistics/{key}", value)
                self._write_details(table)
            self._writer.flush()
        if self._log_text:
            _say(f"epoch {epoch + 1}: " + ", ".join(f"{key} {value:g}" for key, value in numbers.items()))
            if table.sparsity:
                _say(table.sparsity_table())

    def _write_details(self, table: CompressionStatistics):
        for row in table.sparsity:
            _write_scalar(f"3.compression_details/statistics/{row.layer}/{row.weight}/sparsity_level", row.level)
        for path, layer in leaf_layers(self._controller.model):
            if isinstance(layer, CompressedLayer):
                for weight in dict.fromkeys(layer.weight_paths):
                    tag = f"3.compression_details/weights/{path}/{weight}"
                    _write_histogram(tag, layer.compressed_weight(weight).numpy())

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _say(message: object) -> None:
    """Print a text; a character that the console does not have is printed as an escape."""
    try:
        print(message)
    except UnicodeEncodeError as error:
        print(str(message).encode(error.encoding, "backslashreplace").decode(error.encoding))


def _write_scalar(tag: str, value: float) -> None:
    """Write a scalar as TensorBoard reads it; ``tf.summary.scalar`` would need TensorBoard to be installed."""
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "scalars"
    tf.summary.write(tag, tf.constant(value, tf.float32), metadata=metadata)


def _write_histogram(tag: str, values: np.ndarray) -> None:
    """Write a histogram as TensorBoard reads it: rows of left edge, right edge and count; large arrays are sampled."""
    sampled = values.reshape(-1)[:: max(1, values.size // HISTOGRAM_SAMPLES)]
    counts, edges = np.histogram(sampled, HISTOGRAM_BINS)
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "histograms"
    rows = np.stack([edges[:-1], edges[1:], counts], axis=-1)
    tf.summary.write(tag, tf.constant(rows, tf.float64), metadata=metadata)
