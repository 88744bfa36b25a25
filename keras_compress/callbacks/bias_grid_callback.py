"""BiasGridCallback: keeps the biases of a training on the grid of the runtimes that it is for."""

from __future__ import annotations

from keras_compress._keras import keras
from keras_compress.calibration.bias_grid import put_biases_on_grid
from keras_compress.controller import CompressionController

__all__ = ["BiasGridCallback"]


class BiasGridCallback(keras.callbacks.Callback):
    """At the end of every epoch, rounds biases to the int32 grid of ONNX Runtime and TensorFlow Lite.

    What is saved and exported then computes what these runtimes compute. A training that goes on behind an epoch, from a checkpoint
    that was saved before this callback was called, makes up for it.

    Args:
        controller: from ``create_compressed_model``.
    """

    def __init__(self, controller: CompressionController):
        super().__init__()
        self._controller = controller

    def on_train_begin(self, logs=None):
        position = self._controller.scheduler.fit_position
        if position is not None and position.batch == 0 and position.logs:
            put_biases_on_grid(self._controller.model)

    def on_epoch_end(self, epoch, logs=None):
        put_biases_on_grid(self._controller.model)
