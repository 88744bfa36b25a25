"""CheckpointManagerCallback: saves a ``tf.train.Checkpoint`` during ``fit``."""

from __future__ import annotations

import shutil
import tempfile
import warnings
import weakref
from pathlib import Path

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.arguments import checked_path, flag, whole_number, wrong
from keras_compress.callbacks.checkpoint_folder import CheckpointFolder
from keras_compress.callbacks.memory import read_memory
from keras_compress.callbacks.restorable import controller_of, warn_of_what_is_not_restored
from keras_compress.checkpoint_files import listed_checkpoint
from keras_compress.controller import CompressionController
from keras_compress.distribution import is_chief
from keras_compress.errors import ConfigError, StateError, short_repr
from keras_compress.fit_position import FitPosition
from keras_compress.graph.finite_numbers import NotFinite, numbers_not_finite

__all__ = ["CheckpointManagerCallback"]


class CheckpointManagerCallback(keras.callbacks.Callback):
    """Saves ``checkpoint`` into ``directory`` after every epoch, or after every so many batches.

    A checkpoint that is there already is never overwritten: numbers go on after the highest one in the directory. If a
    save fails, the ones before it stay as they are. With several workers only the chief writes into ``directory``. While
    ``fit`` runs, no other process can write into it through this callback, where the system has locks for folders.
    A checkpoint with a ``TFCompressionState`` holds the place in ``fit`` that belongs to its numbers, wherever it is saved;
    the first one is announced with a warning if something of the training will not come back from it. While weights are NaN that
    were not when ``fit`` began, nothing is saved, with a warning that names the layer: the last checkpoint before stays the newest.

    Args:
        checkpoint: usually ``tf.train.Checkpoint(model=model, compression_state=TFCompressionState(controller))``.
        directory: made if missing.
        save_freq: ``"epoch"`` (default), or a number of batches.
        max_to_keep: how many of the newest checkpoints stay; None (default) keeps all.
        asynchronous: write in the background while training goes on. Default False.

    Raises:
        StateError: a checkpoint cannot be written, another process writes into the folder, or its list of checkpoints is
            damaged or names some that this callback did not write; raised out of ``fit``.

    Example::

        checkpoint = tf.train.Checkpoint(model=model, compression_state=kc.TFCompressionState(controller))
        callbacks = [*kc.create_compression_callbacks(controller), CheckpointManagerCallback(checkpoint, "checkpoints")]
        model.fit(images, labels, epochs=5, callbacks=callbacks)
    """

    def __init__(
        self,
        checkpoint: tf.train.Checkpoint,
        directory: str | Path,
        save_freq: str | int = "epoch",
        max_to_keep: int | None = None,
        *,
        asynchronous: bool = False,
    ):
        super().__init__()
        if not isinstance(checkpoint, tf.train.Checkpoint):
            raise wrong("checkpoint", "a tf.train.Checkpoint", checkpoint, "Pass tf.train.Checkpoint(model=model, …).")
        directory = checked_path("directory", directory)
        if save_freq != "epoch" and (type(save_freq) is not int or save_freq < 1):
            raise ConfigError(
                "save_freq takes 'epoch' or a number of batches above 0. Expected: one of these. Received: "
                f"save_freq={short_repr(save_freq)}. Leave it out to save after every epoch."
            )
        if max_to_keep is not None:
            max_to_keep = whole_number("max_to_keep", max_to_keep, 1)
        asynchronous = flag("asynchronous", asynchronous)
        self._every_batches = save_freq if isinstance(save_freq, int) else None
        self._batches = 0
        self._batches_of_epoch = 0
        self._controller: CompressionController | None = None
        self._unnamed = True
        self._not_finite_before: set[NotFinite] = set()
        self._refused = False
        self._first_batch = 0
        self._checkpoint = checkpoint
        self._directory = Path(directory)
        self._max_to_keep = max_to_keep
        self._asynchronous = asynchronous
        self._options = tf.train.CheckpointOptions(experimental_enable_async_checkpoint=asynchronous)
        self._scratch: Path | None = None
        self._folder: CheckpointFolder | None = None
        self._manager: tf.train.CheckpointManager | None = None

    @property
    def latest_checkpoint(self) -> str | None:
        """Path of the newest checkpoint, for ``checkpoint.restore``; None before the first."""
        return tf.train.latest_checkpoint(str(self._directory))

    def on_train_begin(self, logs=None):
        self._opened()
        self._not_finite_before, self._refused = set(numbers_not_finite(self.model)), False
        self._controller = controller_of(self._checkpoint)
        if self._controller is not None:
            key = f"CheckpointManagerCallback({self._every_batches})"
            restored = self._controller.remember(
                key, lambda: {"batches": self._batches, "of_epoch": self._batches_of_epoch}
            )
            if restored is not None:
                self._recall(restored, self._controller.scheduler.fit_position)

    def _recall(self, memory: dict, position: FitPosition | None) -> None:
        """Go on counting batches, with those that came before the checkpoint and that this callback was not told of."""
        memory = read_memory(type(self).__name__, memory, {"batches": int, "of_epoch": int})
        inside = 0 if position is None else position.batch
        self._batches = memory["batches"] + (max(0, inside - memory["of_epoch"]) if inside else 0)

    def on_epoch_begin(self, epoch, logs=None):
        self._batches_of_epoch = 0

    def on_train_batch_begin(self, batch, logs=None):
        self._first_batch = batch

    def on_train_batch_end(self, batch, logs=None):
        if self._controller is not None and self._controller.scheduler.repeating:
            return  # this batch has been counted already
        before = self._batches
        self._batches += batch - self._first_batch + 1  # more than one with steps_per_execution
        self._batches_of_epoch = batch + 1
        if self._every_batches is not None and self._batches // self._every_batches > before // self._every_batches:
            self._save()

    def on_epoch_end(self, epoch, logs=None):
        if self._every_batches is None:
            self._save()

    def on_train_end(self, logs=None):
        if self._asynchronous and self._manager is not None:
            self._guarded(self._manager.sync)
        if self._folder is not None:
            self._folder.release()
        self._folder = self._manager = None  # until the next fit, others may write into the folder

    def _save(self) -> None:
        if self._has_diverged():
            return
        if self._unnamed:
            self._unnamed = False
            warn_of_what_is_not_restored(self._controller, self.model)
        self._guarded(lambda: self._own_manager().save(options=self._options))

    def _has_diverged(self) -> bool:
        """Whether weights are NaN or infinite since ``fit`` began; says so once. Older checkpoints would be deleted for theirs."""
        found = next((found for found in numbers_not_finite(self.model) if found not in self._not_finite_before), None)
        if found is not None and not self._refused:
            self._refused = True
            before = self.latest_checkpoint
            way_out = (
                f"Go on from '{before}', the newest one before, with kc.restore and" if before else "Begin again with"
            )
            warnings.warn(
                f"No checkpoint is saved: the weight '{found.name}' of the layer '{found.layer}' holds NaN or infinite values. "
                f"Expected: finite numbers. Received: {found.count} such values of {found.size}. {way_out} a lower learning rate.",
                stacklevel=2,
            )
        return found is not None

    def _guarded(self, write) -> None:
        try:
            write()
        except (tf.errors.OpError, OSError) as error:
            self._remove_remains()
            reason = str(error).strip().splitlines()[0]
            raise StateError(
                f"No checkpoint could be written into '{self._directory}': {reason[:300]}. The newest one that is complete: "
                f"{self.latest_checkpoint}. Make room or choose another folder, and go on from that with kc.restore."
            ) from error

    def _own_manager(self) -> tf.train.CheckpointManager:
        """Return the manager, and see to it that the number of the next checkpoint is a new one."""
        folder, manager = self._opened()
        counter = self._checkpoint.save_counter
        counter.assign(max(int(counter.numpy()), folder.highest_number()))
        folder.begin(int(counter.numpy()) + 1)
        return manager

    def _opened(self) -> tuple[CheckpointFolder, tf.train.CheckpointManager]:
        """Return the folder and its manager: of the chief for ``directory``, of other workers for one that is thrown away."""
        if self._folder is None:
            path = self._directory
            if not is_chief(self.model.distribute_strategy):
                path = self._scratch or self._own_scratch()  # every worker takes part in saving, and one copy is enough
            self._folder = CheckpointFolder(path)
        if self._manager is None:
            listed_checkpoint(self._folder.path)
            keep = 1 if self._scratch else self._max_to_keep
            manager = tf.train.CheckpointManager(self._checkpoint, str(self._folder.path), max_to_keep=keep)
            self._folder.require_own([*manager.checkpoints, manager.latest_checkpoint])
            self._manager = manager
        return self._folder, self._manager

    def _own_scratch(self) -> Path:
        """Return a folder that lives as long as the callback."""
        self._scratch = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        return self._scratch

    def _remove_remains(self) -> None:
        """Delete the files of saves that failed."""
        if self._folder is not None and self._manager is not None:
            self._folder.remove_remains(Path(path).name for path in self._manager.checkpoints)
