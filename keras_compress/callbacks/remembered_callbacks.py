"""RememberedCallbacks: what callbacks of others know goes into the checkpoints, as the patience of ``EarlyStopping``.

Numbers and words only: weights that a callback keeps are not among them. Settings, as the path of a file, stay what they are.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_compress._keras import keras
from keras_compress.controller import CompressionController
from keras_compress.errors import StateError, short_repr

__all__ = ["RememberedCallbacks"]

_PLAIN = (bool, int, float, str, type(None))
#: Modules of Keras' own callbacks.
_KERAS = f"{keras.callbacks.Callback.__module__.partition('.')[0]}."


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
            vars(callback).update(_checked(callback, memory or {}))
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


def _checked(callback: keras.callbacks.Callback, memory: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a callback gets back: numbers where it has numbers, and words that do not say where it writes.

    A checkpoint may come from anybody. Words among the arguments of a callback, and all words of Keras' callbacks, are settings
    as paths and names.

    Raises:
        StateError: a value is of another kind than that of the callback.
    """
    known, found = _plain(callback), {}
    for name, value in memory.items():
        if name not in known or value == known[name]:
            continue
        if not isinstance(value, _PLAIN) or isinstance(value, str) != isinstance(known[name], str):
            raise StateError(
                f"What {type(callback).__name__} remembers in the checkpoint is damaged: '{name}' is {short_repr(value)}. Expected: a "
                f"value as {short_repr(known[name])}. Use another checkpoint."
            )
        if isinstance(value, str) and _is_setting(callback, name):
            warnings.warn(
                f"The checkpoint gives {type(callback).__name__} another '{name}', {short_repr(value)}, and a checkpoint does not change "
                f"settings: it stays {short_repr(known[name])}.",
                stacklevel=3,
            )
            continue
        found[name] = value
    return found


def _is_setting(callback: keras.callbacks.Callback, name: str) -> bool:
    classes = [cls for cls in type(callback).__mro__ if cls not in (keras.callbacks.Callback, object)]
    arguments = {argument for cls in classes for argument in inspect.signature(cls).parameters}
    return name in arguments or any(cls.__module__.startswith(_KERAS) for cls in classes)


def _plain(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Return the attributes of a callback that are numbers or words."""
    values = {name: value.item() if isinstance(value, np.generic) else value for name, value in vars(callback).items()}
    return {name: value for name, value in values.items() if isinstance(value, _PLAIN)}
