"""SparsityMask and BinaryMask: weight operations that set weights to zero.

Which weights are kept is decided elsewhere. The mask acts in the forward pass, so whatever saves the model at whatever
moment saves it sparse.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import tensorflow as tf

from keras_compress._keras import register
from keras_compress.layers.settings_check import checked_whole
from keras_compress.layers.weight_op import Stage, WeightOp
from keras_compress.numerics import apply_mask

__all__ = ["BinaryMask", "SparsityMask"]


class SparsityMask(WeightOp):
    """Base of the operations that keep some weights and set the others to zero.

    Attributes:
        level: float32 scalar variable, the target share of zeros, in [0, 1).
        frozen: bool scalar variable, whether the choice is final.
        epochs_met: int32 scalar variable, how many epochs have met the level, for the adaptive schedule.
        mask: bool variable in the shape of the weight, True where it is kept.
    """

    stage = Stage.MASK

    def build(self, input_shape):
        def state(name, dtype, shape=(), initializer="zeros"):
            return self.add_weight(name=name, shape=shape, dtype=dtype, initializer=initializer, trainable=False)

        self.level = state("level", "float32")
        self.frozen = state("frozen", "bool")
        self.epochs_met = state("epochs_met", "int32")
        self.mask = state("mask", "bool", input_shape, "ones")
        super().build(input_shape)

    @abstractmethod
    def kept(self) -> np.ndarray:
        """Return which weights inference keeps, a bool array in the shape of the weight."""


@register
class BinaryMask(SparsityMask):
    """Keeps the weights that its mask says: ``out = weight * mask``, with a straight-through gradient.

    See :func:`~keras_compress.numerics.apply_mask`. The mask starts with every weight kept.

    Args:
        input_axis: the axis of the weight that an N:M pattern follows; None (default) without a pattern.

    Example:
        >>> mask = BinaryMask()
        >>> mask.build((2,))
        >>> mask.mask.assign([True, False]).numpy().tolist()
        [True, False]
        >>> mask(tf.constant([3.0, 4.0])).numpy().tolist()
        [3.0, 0.0]
    """

    def __init__(self, input_axis: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.input_axis = None if input_axis is None else checked_whole(input_axis, "input_axis", self.name, -8, 7)

    def call(self, inputs):
        return apply_mask(inputs, tf.convert_to_tensor(self.mask))

    def kept(self) -> np.ndarray:
        return self.mask.numpy()

    def get_config(self) -> dict:
        return {**super().get_config(), "input_axis": self.input_axis}
