"""ObservableOp: an operation that can be switched off, and shown the tensors it would map, so that they can be measured.

How a range is found from what was seen is not decided here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from keras_compress._keras import inferring_shapes
from keras_compress.layers.weight_op import WeightOp

__all__ = ["ObservableOp", "observing", "switched"]


class ObservableOp(WeightOp):
    """Base of the operations whose numbers start from a measured range.

    While an observer is attached, the operation shows it the tensor and passes the tensor on unchanged. While Keras only
    learns shapes, it passes the tensor on too.

    Attributes:
        range_variable_shape: shape of the measured ends: ``()``, or ones but for the channel axes.
    """

    range_variable_shape: tuple[int, ...] = ()

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self._observer: Callable[[tf.Tensor], None] | None = None
        self._switch: tf.Tensor | None = None

    def call(self, inputs, training=None):
        if self._observer is not None:
            self._observer(inputs)
            return inputs
        if inferring_shapes():
            return inputs
        mapped = self.mapped(inputs, training)
        return mapped if self._switch is None else tf.where(self._switch, mapped, inputs)

    @abstractmethod
    def mapped(self, inputs: tf.Tensor, training: bool | tf.Tensor | None) -> tf.Tensor:
        """Return what the operation makes of a tensor: same shape, same type."""

    @abstractmethod
    def set_range(self, low: np.ndarray, high: np.ndarray) -> None:
        """Start from measured extremes, shaped as ``range_variable_shape``."""


@contextmanager
def observing(observers: Mapping[ObservableOp, Callable[[tf.Tensor], None]], operations: Iterable[ObservableOp]):
    """Switch ``operations`` off while the context lasts, and show their inputs to their observer, if they have one.

    A graph traced inside the context keeps the observers, so trace a function of its own there and drop it afterwards.
    """
    operations = list(operations)
    try:
        for operation in operations:
            operation._observer = observers.get(operation) or _ignore
        yield
    finally:
        for operation in operations:
            operation._observer = None


@contextmanager
def switched(switches: Mapping[ObservableOp, tf.Tensor]):
    """Let operations work only where their switch, a scalar of booleans, is on; for graphs traced inside the context."""
    try:
        for operation, switch in switches.items():
            operation._switch = switch
        yield
    finally:
        for operation in switches:
            operation._switch = None


@tf.autograph.experimental.do_not_convert
def _ignore(tensor) -> None:
    """Observe nothing."""
