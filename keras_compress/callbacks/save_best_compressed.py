"""SaveBestCompressed: keeps the best model of those that are fully compressed."""

from __future__ import annotations

import warnings
from pathlib import Path

from keras_compress._keras import keras
from keras_compress.algorithms import CompressionStage
from keras_compress.callbacks.memory import read_memory
from keras_compress.controller import CompressionController

__all__ = ["SaveBestCompressed"]

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
    if no epoch was fully compressed, since then nothing was saved. Checkpoints hold the best value: a training that is resumed
    does not replace the best model by a worse one, as long as its file is there.

    Args:
        controller: from ``create_compressed_model``.
        filepath: as in ``ModelCheckpoint``.
        monitor: a name in the logs. Default ``"val_loss"``.
        **options: as in ``ModelCheckpoint``, but for ``save_best_only``.

    Example::

        callbacks = [*create_compression_callbacks(controller), SaveBestCompressed(controller, "best.keras")]
    """

    def __init__(self, controller: CompressionController, filepath: str, monitor: str = "val_loss", **options):
        super().__init__(str(filepath), monitor, save_best_only=True, **options)
        self._controller = controller
        self._seen = False
        self._missing: list[str] | None = None
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
        """Remember what the logs hold as long as the monitored name is not among them."""
        self._missing = None if self.monitor in (logs or {}) else sorted(logs or {})

    def on_train_batch_end(self, batch, logs=None):
        if self._controller.scheduler.repeating:
            return  # this batch has been seen already
        if self.save_freq != "epoch" and self._complete():
            self._look_for_monitor(logs)
            super().on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._trained = True
        self._next_epoch = epoch + 1
        if self._complete():
            if self.save_freq == "epoch":
                self._look_for_monitor(logs)
            super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs=None):
        if not self._trained:
            return
        if not self._seen:
            warnings.warn(
                "No epoch was fully compressed, so no best model was saved. Train beyond the target epoch of the schedule.",
                stacklevel=2,
            )
        elif self._missing is not None:
            warnings.warn(
                f"No best model was saved: '{self.monitor}' is not among the logs. Expected: one of {self._missing}. Received: "
                f"monitor={self.monitor!r}. Give another name, or validation_data to fit.",
                stacklevel=2,
            )
