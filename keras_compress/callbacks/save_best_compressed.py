"""SaveBestCompressed: keeps the best model of those that are fully compressed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.algorithms import CompressionStage
from keras_compress.arguments import checked_path, text, wrong
from keras_compress.callbacks.memory import read_memory
from keras_compress.controller import CompressionController, require_controller
from keras_compress.errors import ExportError
from keras_compress.export.saved_model import foreign_files
from keras_compress.files import MemoryFile, replacing, write_file

__all__ = ["SaveBestCompressed"]

#: Endings by which Keras writes HDF5 files.
HDF5 = (".h5", ".hdf5")

_KINDS = {
    "best": float,
    "seen": bool,
    "next_epoch": int,
    "epochs_since_last_save": int,
    "batches_since_last_save": int,
    "last_batch": int,
}


class SaveBestCompressed(keras.callbacks.ModelCheckpoint):
    """Keras' ``ModelCheckpoint`` with ``save_best_only``, blind to epochs whose compression is not yet complete.

    A model is most accurate before it is compressed; the ordinary callback keeps that one. Warns at the end of ``fit``
    if no epoch was fully compressed, since then nothing was saved. A file is replaced only by a complete new one. Checkpoints
    hold the best value: a training that is resumed does not replace the best model by a worse one, as long as its file is
    there.

    Args:
        controller: from ``create_compressed_model``.
        filepath: as in ``ModelCheckpoint``.
        monitor: a name in the logs. Default ``"val_loss"``.
        **options: as in ``ModelCheckpoint``, but for ``save_best_only``.

    Raises:
        ExportError: the file cannot be written, or something else stands in its place; raised out of ``fit``.

    Example::

        callbacks = [*create_compression_callbacks(controller), SaveBestCompressed(controller, "best.keras")]
    """

    def __init__(self, controller: CompressionController, filepath: str | Path, monitor: str = "val_loss", **options):
        require_controller(controller)
        checked_path("filepath", filepath)
        try:
            super().__init__(str(filepath), text("monitor", monitor), save_best_only=True, **options)
        except (TypeError, ValueError, AttributeError) as error:
            raise wrong("options", "those of keras.callbacks.ModelCheckpoint", options, f"{error}") from None
        self._controller = controller
        self._seen = False
        self._written: set[str] = set()
        self._found = False
        self._known: list[str] = []
        self._trained = False
        self._next_epoch = 0

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._trained = False
        restored = self._controller.remember(f"SaveBestCompressed({self.monitor!r}, {self.filepath!r})", self._memory)
        if restored is not None:
            self._recall(restored)

    def _memory(self) -> dict:
        return {
            "best": float(self.best),
            "seen": self._seen,
            "next_epoch": self._next_epoch,
            "epochs_since_last_save": self.epochs_since_last_save,
            "batches_since_last_save": self._batches_seen_since_last_saving,
            "last_batch": self._last_batch_seen,
        }

    def _recall(self, memory: dict) -> None:
        """Go on with what a checkpoint holds, and with the end of an epoch that came after the checkpoint was saved."""
        memory = read_memory(type(self).__name__, memory, _KINDS)
        self._seen, self._next_epoch = memory["seen"], memory["next_epoch"]
        self.epochs_since_last_save = memory["epochs_since_last_save"]
        self._batches_seen_since_last_saving = memory["batches_since_last_save"]
        self._last_batch_seen = memory["last_batch"]
        if "{" in self.filepath or Path(self.filepath).exists():
            self.best = memory["best"]
        position = self._controller.scheduler.fit_position
        if position is not None and position.logs and self._next_epoch < position.epoch:
            self.on_epoch_end(position.epoch - 1, dict(position.logs))

    def _complete(self) -> bool:
        complete = self._controller.compression_stage() is CompressionStage.FULLY_COMPRESSED
        self._seen |= complete
        return complete

    def _look_for_monitor(self, logs):
        """Remember whether the logs ever hold the monitored name, and what they hold: epochs without validation lack some."""
        self._found |= self.monitor in (logs or {})
        self._known = sorted({*self._known, *(logs or {})})

    def on_train_batch_end(self, batch, logs=None):
        if self._controller.scheduler.repeating:
            return  # this batch has been seen already
        if self.save_freq != "epoch" and self._complete():
            self._look_for_monitor(logs)
            with self._explained():
                super().on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._trained = True
        self._next_epoch = epoch + 1
        if self._complete():
            if self.save_freq == "epoch":
                self._look_for_monitor(logs)
            with self._explained():
                super().on_epoch_end(epoch, logs)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what TensorFlow or the system raises into an ExportError."""
        try:
            yield
        except (tf.errors.OpError, OSError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ExportError(
                f"'{self.filepath}' cannot be written: {reason}. What was there before is unchanged."
            ) from error

    def _save_handler(self, filepath):
        """Save as ``ModelCheckpoint`` does, which calls this when a file is due; but as a whole or not at all."""
        path = Path(filepath)
        if "://" in filepath:  # elsewhere, where only TensorFlow can write
            super()._save_handler(filepath)
        elif path.suffix in HDF5 or (self.save_weights_only and path.suffix == ".keras"):
            memory = MemoryFile(filepath)
            super()._save_handler(memory)
            write_file(path, memory.content)
        elif self.save_weights_only:
            with replacing(f"{filepath}.index", overwrite=True) as staged:
                super()._save_handler(str(staged).removesuffix(".index"))
                self._leave_list_of_others(path, staged.with_name("checkpoint"))
        else:
            with replacing(path, folder=path.suffix != ".keras", foreign=foreign_files) as staged:
                super()._save_handler(str(staged))

    def _leave_list_of_others(self, path: Path, written: Path) -> None:
        """Delete the list that TensorFlow writes beside weights, if the folder has one of checkpoints this callback did not write."""
        listed = tf.train.get_checkpoint_state(str(path.parent))
        self._written.add(path.name)
        if listed is not None and Path(listed.model_checkpoint_path).name not in self._written:
            written.unlink(missing_ok=True)

    def on_train_end(self, logs=None):
        if not self._trained:
            return
        if not self._seen:
            warnings.warn(
                "No epoch was fully compressed, so no best model was saved. Train beyond the target epoch of the schedule.",
                stacklevel=2,
            )
        elif not self._found:
            warnings.warn(
                f"No best model was saved: '{self.monitor}' is not among the logs. Expected: one of {self._known}. Received: "
                f"monitor={self.monitor!r}. Give another name, or validation_data to fit.",
                stacklevel=2,
            )
