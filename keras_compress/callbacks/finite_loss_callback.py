"""FiniteLossCallback: says once when the loss of a training is no longer a number, and in which layer that began."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.calibration.finite_outputs import LayerOutputs, observe_outputs
from keras_compress.callbacks.memory import read_memory
from keras_compress.controller import CompressionController
from keras_compress.errors import CompressionError
from keras_compress.export.audit_samples import audit_samples
from keras_compress.graph import build, take
from keras_compress.graph.finite_numbers import numbers_not_finite, wrong_numbers
from keras_compress.graph.variables import frozen_array, leaf_layers, named_variables

__all__ = ["FiniteLossCallback"]

#: The weights before a batch are kept in the first batches of an epoch, and whenever the loss has grown so many times.
FIRST_BATCHES, GROWN = 8, 100.0
#: Activations beyond this are named.
LARGE = 1e4


class FiniteLossCallback(keras.callbacks.Callback):
    """Warns once in a ``fit`` whose loss becomes NaN or infinite, with the epoch, the batch and the layer where it began.

    All weights that the gradient reaches turn at once, so that they do not tell where it began. The model is run once more on
    registered samples, or drawn ones, with weights from before, and the first layer is named that computes what is not finite.
    If none does, it began in the gradient of the last layer whose weights are NaN, or in the loss.
    Training goes on; ``keras.callbacks.TerminateOnNaN`` ends it.

    Args:
        controller: keeps the least loss so far in checkpoints. Default None: a resumed training counts from its own start.
    """

    def __init__(self, controller: CompressionController | None = None) -> None:
        super().__init__()
        self._controller = controller
        self._warned = False
        self._epoch = 0
        self._least = np.inf
        self._before: dict[tuple[str, str], np.ndarray] = {}

    def on_train_begin(self, logs=None):
        self._warned = False
        if self._controller is not None:
            memory = self._controller.remember(type(self).__name__, lambda: {"least": float(self._least)})
            if memory is not None:
                self._least = read_memory(type(self).__name__, memory, {"least": float})["least"]

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._keep()

    def on_train_end(self, logs=None):
        self._before = {}

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss")
        if self._warned or loss is None:
            return
        if not np.isfinite(loss).all():
            self._warned = True
            self._warn(batch, loss)
            self._before = {}
            return
        self._least = min(self._least, float(np.max(loss)))
        if batch < FIRST_BATCHES or float(np.max(loss)) > GROWN * max(abs(self._least), 1e-6):
            self._keep()

    def _keep(self) -> None:
        """Keep the present weights; they are copied when the next step of the training changes them."""
        if not self._warned:
            self._before = _arrays(self.model)

    def _warn(self, batch: int, loss: Any) -> None:
        warnings.warn(
            f"The loss of the training is no longer finite: {float(np.ravel(loss)[0])} at batch {batch} of epoch {self._epoch}, "
            f"counted from 0. {self._origin()} Lower the learning rate, limit the gradients with 'clipnorm' of the optimizer, look "
            "for NaN in the data and for divisions and logarithms of zero, and go on from a checkpoint before it.",
            stacklevel=3,
        )

    def _origin(self) -> str:
        """Return a sentence that names the layer where it began."""
        outputs = self._outputs()
        if outputs.not_finite is not None:
            return f"It began in layer '{outputs.not_finite}', the first one that computes NaN or infinite numbers."
        wrong = _not_finite(self._before) or {found.layer for found in numbers_not_finite(self.model)}
        trained = [path for path, layer in leaf_layers(self.model) if layer.trainable_variables]
        names = [path for path in trained if path in wrong]
        if names and trained[-1] not in wrong:
            return f"It began in the gradient behind layer '{names[-1]}', the last one whose weights are NaN."
        last = ", ".join(f"'{name}'" for name in self.model.output_names)
        large = (
            f", where layer '{outputs.largest}' computes {outputs.magnitude:.3g}" if outputs.magnitude > LARGE else ""
        )
        return f"It began behind layer {last}: in the loss, in its gradient or in the targets{large}."

    def _outputs(self) -> LayerOutputs:
        """Return what the layers compute with the weights from before; nothing where they cannot be asked."""
        try:
            samples = audit_samples(self.model)
            if samples is None or _not_finite(self._before):
                return LayerOutputs()
            model = build(take(self.model))
            for path, layer in leaf_layers(model):
                for name, variable in named_variables(layer).items():
                    variable.assign(self._before.get((path, name), variable))
            return observe_outputs(model, samples.inputs, training=True)
        except (CompressionError, tf.errors.OpError, ValueError, TypeError):  # the warning matters more
            return LayerOutputs()


def _arrays(model: keras.Model) -> dict[tuple[str, str], np.ndarray]:
    """Return the present values of all variables, by path of the layer and name."""
    return {
        (path, name): frozen_array(variable)
        for path, layer in leaf_layers(model)
        for name, variable in named_variables(layer).items()
    }


def _not_finite(arrays: Mapping[tuple[str, str], np.ndarray]) -> set[str]:
    """Return the layers with NaN among their values."""
    return {path for (path, name), array in arrays.items() if wrong_numbers(path, name, array, infinite=True)}
