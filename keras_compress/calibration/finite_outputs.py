"""Where a model ceases to compute finite numbers: the first layer with others, and the one with the largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.calibration.layer_outputs import see_outputs

__all__ = ["LayerOutputs", "observe_outputs"]


@dataclass
class LayerOutputs:
    """What the layers of a model compute.

    Attributes:
        not_finite: path of the first layer that computes NaN or infinite numbers, None if none does.
        largest: path of the layer with the largest finite number.
        magnitude: of that number.
    """

    not_finite: str | None = None
    largest: str = ""
    magnitude: float = 0.0

    def add(self, path: str, outputs: Any) -> None:
        """Take the outputs of a layer into account."""
        for tensor in tf.nest.flatten(outputs):
            if not tf.is_tensor(tensor) or not tensor.dtype.is_floating or not tf.size(tensor):
                continue
            largest = float(tf.reduce_max(tf.abs(tensor)))
            if not np.isfinite(largest):
                self.not_finite = self.not_finite or path
            elif largest > self.magnitude:
                self.largest, self.magnitude = path, largest


def observe_outputs(model: keras.Model, arrays: Sequence[np.ndarray], *, training: bool = False) -> LayerOutputs:
    """Return what the layers of a model compute.

    Args:
        model: the model; it runs once, operation by operation.
        arrays: one array per input, in the order of the model.
        training: run as in training, which changes moving statistics. Default False.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Lambda(tf.math.log, name="log")])
        >>> observe_outputs(model, [np.zeros((2, 1), np.float32)]).not_finite
        'log'
    """
    found = LayerOutputs()
    see_outputs(model, [tf.constant(array) for array in arrays], found.add, training)
    return found
