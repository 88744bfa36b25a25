"""CalibratedOp: an operation that can be switched off, and shown the tensors it would map, so that they can be measured.

How a range is found from what was seen is not decided here.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from keras_compress._tracing import inferring_shapes
from keras_compress.layers.float_computation import computes_in_float
from keras_compress.layers.weight_op import WeightOp

__all__ = ["CalibratedOp", "bypassed_unless", "observed"]


class _OfThisThread(threading.local):
    """The observers and the switches of operations, by their identity, in one thread."""

    def __init__(self) -> None:
        self.observers: dict[int, Callable[[tf.Tensor], None]] = {}
        self.switches: dict[int, tf.Tensor] = {}


_OF_THIS_THREAD = _OfThisThread()


class CalibratedOp(WeightOp):
    """Base of the operations whose numbers start from a measured range.

    Forward: :meth:`apply`. While an observer is attached (:func:`observed`), the input is shown to it and returned
    unchanged; it is also returned unchanged while Keras infers shapes. Observers and switches are those of a thread: in
    another one the operation works as ever.

    Attributes:
        range_variable_shape: shape of the measured ends: ``()``, or the rank of the tensor with ones except on the
            channel axes.

    Example:
        >>> from keras_compress.layers import SymmetricFakeQuantize
        >>> quantizer, seen = SymmetricFakeQuantize(), []
        >>> with observed({quantizer: seen.append}, [quantizer]):
        ...     quantizer(tf.constant([100.0])).numpy().tolist()
        [100.0]
        >>> seen[0].numpy().tolist()
        [100.0]
    """

    range_variable_shape: tuple[int, ...] = ()

    @property
    def _observer(self) -> Callable[[tf.Tensor], None] | None:
        return _OF_THIS_THREAD.observers.get(id(self))

    @property
    def _switch(self) -> tf.Tensor | None:
        return _OF_THIS_THREAD.switches.get(id(self))

    def call(self, inputs, training=None):
        if inferring_shapes() or computes_in_float():
            return inputs
        if self._observer is not None:
            self._observer(inputs)
            return inputs
        mapped = self.apply(inputs, training)
        return mapped if self._switch is None else tf.where(self._switch, mapped, inputs)

    @abstractmethod
    def apply(self, inputs: tf.Tensor, training: bool | tf.Tensor | None) -> tf.Tensor:
        """Return the result of the operation: same shape, same type."""

    @abstractmethod
    def set_range(self, low: np.ndarray, high: np.ndarray) -> None:
        """Start from measured extremes, shaped as ``range_variable_shape``."""


@contextmanager
def observed(observers: Mapping[CalibratedOp, Callable[[tf.Tensor], None]], operations: Iterable[CalibratedOp]):
    """Switch operations off while the context lasts, and show their inputs to their observers, if they have one.

    A graph traced inside the context keeps the observers, so trace a function of its own there and drop it afterwards.

    Args:
        observers: what is called with the input of an operation, a tensor of any shape.
        operations: every operation to switch off.
    """
    attached = {id(operation): observers.get(operation) or _ignore for operation in operations}
    before = _OF_THIS_THREAD.observers
    try:
        _OF_THIS_THREAD.observers = {**before, **attached}
        yield
    finally:
        _OF_THIS_THREAD.observers = before


@contextmanager
def bypassed_unless(switches: Mapping[CalibratedOp, tf.Tensor]):
    """Let operations work only while their switch is on; for graphs traced inside the context.

    Args:
        switches: for each operation a bool scalar; where it is False the operation returns its input.

    Example:
        >>> from keras_compress.layers import SymmetricFakeQuantize
        >>> quantizer = SymmetricFakeQuantize()
        >>> with bypassed_unless({quantizer: tf.constant(False)}):
        ...     quantizer(tf.constant([100.0])).numpy().tolist()
        [100.0]
    """
    before = _OF_THIS_THREAD.switches
    try:
        _OF_THIS_THREAD.switches = {**before, **{id(operation): switch for operation, switch in switches.items()}}
        yield
    finally:
        _OF_THIS_THREAD.switches = before


@tf.autograph.experimental.do_not_convert
def _ignore(tensor) -> None:
    """Observe nothing."""
