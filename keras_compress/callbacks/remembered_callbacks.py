"""RememberedCallbacks: what callbacks of others know goes into the checkpoints, as the patience of ``EarlyStopping``.

Numbers and words only: weights that a callback keeps are not among them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_compress._keras import keras
from keras_compress.controller import CompressionController

__all__ = ["RememberedCallbacks"]

_PLAIN = (bool, int, float, str, type(None))


class RememberedCallbacks(keras.callbacks.Callback):
    """Keeps in every checkpoint the plain attributes of other callbacks that have changed since ``fit`` began.

    After ``kc.restore`` the callbacks get them back before their first epoch. They belong to the state as it was when the
    checkpoint was saved, so the callback that saves stands behind them.

    Args:
        controller: from ``create_compressed_model``.
        callbacks: those that are passed to ``fit`` as well, in the same order in every process.
    """

    def __init__(self, controller: CompressionController, callbacks: Sequence[keras.callbacks.Callback]):
        super().__init__()
        self._controller = controller
        self._callbacks = list(callbacks)
        self._before: list[dict[str, Any]] = []
        self._restored: list[dict[str, Any] | None] = []
        self._begun = False

    def on_train_begin(self, logs=None):
        self._begun = False
        memories = [lambda index=index: self._changed(index) for index in range(len(self._callbacks))]
        self._restored = [
            self._controller.remember(f"{type(callback).__name__} {index}", memory)
            for index, (callback, memory) in enumerate(zip(self._callbacks, memories, strict=True))
        ]

    def on_epoch_begin(self, epoch, logs=None):
        if self._begun:
            return
        self._begun = True  # each has been told by now that fit begins, and has forgotten what it knew
        self._before = [_plain(callback) for callback in self._callbacks]
        for callback, memory in zip(self._callbacks, self._restored, strict=True):
            known = _plain(callback)
            vars(callback).update(
                {name: value for name, value in (memory or {}).items() if name in known and isinstance(value, _PLAIN)}
            )
            if memory and getattr(callback, "restore_best_weights", False):
                warnings.warn(
                    f"{type(callback).__name__} has lost the best weights of the epochs before the checkpoint. Use "
                    "kc.SaveBestCompressed, which keeps them in a file.",
                    stacklevel=2,
                )

    def _changed(self, index: int) -> dict[str, Any]:
        if not self._begun:
            return self._restored[index] or {}
        before = self._before[index]
        return {
            name: value
            for name, value in _plain(self._callbacks[index]).items()
            if name not in before or value != before[name]
        }


def _plain(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Return the attributes of a callback that are numbers or words."""
    values = {name: value.item() if isinstance(value, np.generic) else value for name, value in vars(callback).items()}
    return {name: value for name, value in values.items() if isinstance(value, _PLAIN)}
