"""WeightOp: a shape-preserving map of one weight, as a Keras layer that owns its variables.

Masks, binarizers and quantizers are weight operations. They know nothing about the layer whose weight they change;
:class:`~keras_compress.layers.compressed_layer.CompressedLayer` applies them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from keras_compress._keras import keras

__all__ = ["IntegerWeight", "Stage", "WeightOp", "fixed_fits", "op_stage"]

#: Methods and properties that tell what an operation computes.
_COMPUTATION = ("call", "apply", "quantized", "range", "steps", "grid_bits")


class Stage(enum.IntEnum):
    """The order in which the operations of one weight are applied.

    ``MASK`` comes first, so that a zero stays a zero behind a quantizer, then ``BINARIZE``, then ``QUANTIZE``.

    Example:
        >>> sorted([Stage.QUANTIZE, Stage.MASK])
        [<Stage.MASK: 0>, <Stage.QUANTIZE: 2>]
    """

    MASK = 0
    BINARIZE = 1
    QUANTIZE = 2


@dataclass(frozen=True)
class IntegerWeight:
    """A weight as integers: ``weight = scale * (values - zero_point)``.

    Attributes:
        values: integers in the shape of the weight, int8 or uint8.
        scale: float32, broadcastable to ``values``.
        zero_point: int32, broadcastable to ``values``.
        num_bits: bits of the grid, 1 to 8; the container may be wider.

    Example:
        >>> weight = IntegerWeight(np.int8([[1, -3]]), np.float32([[0.5, 2.0]]), np.int32([[0, 0]]), num_bits=4)
        >>> weight.dequantize().tolist()
        [[0.5, -6.0]]

    Source: Jacob et al. 2018, arXiv:1712.05877, equation 1.
    """

    values: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray
    num_bits: int

    def dequantize(self) -> np.ndarray:
        """Return the dequantized float32 weight."""
        return (self.scale * (self.values.astype(np.int32) - self.zero_point)).astype(np.float32)


class WeightOp(keras.layers.Layer):
    """Base of every operation on a weight or an activation.

    Forward: ``y = call(w)``, a tensor of the shape and type of ``w``, with a gradient. A subclass sets ``stage``,
    creates its variables in ``build(shape)`` and defines ``call(weight, training)``. Variables and arithmetic are
    float32 whatever the policy of the model.

    Attributes:
        stage: where the operation stands among the operations of the same weight.

    Example:
        >>> import tensorflow as tf
        >>> class Halved(WeightOp):
        ...     stage = Stage.MASK
        ...     def call(self, weight, training=None):
        ...         return weight / 2
        >>> Halved()(tf.constant([2.0, -4.0])).numpy().tolist()
        [1.0, -2.0]
    """

    stage: Stage

    def __init__(self, **kwargs):
        kwargs.setdefault("dtype", "float32")
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        self.supports_masking = True

    @property
    def value_bits(self) -> int:
        """Bits that a value behind the operation takes by now: 32 if it is on no grid."""
        return 32

    def to_integer(self, weight: np.ndarray) -> IntegerWeight | None:
        """Return the mapped weight as integers, or None when the operation does not put it on an integer grid."""
        return None

    def fixed(self, num_bits: int | None = None) -> tuple[keras.layers.Layer, Mapping[str, np.ndarray]] | None:
        """Return the replacement of the operation in a model for inference: a layer without trained variables, and its arrays.

        Default None: a weight is mapped once and for all, and an operation on an activation stays as it is. So it is as well where a
        subclass changes what is computed and inherits this method; see :func:`fixed_fits`.

        Args:
            num_bits: bits of the container in which the runtime holds the integers of a grid; default: those of the
                grid.
        """
        return None

    def get_config(self) -> dict:
        config = super().get_config()
        config.pop("autocast", None)
        return config


def op_stage(description: dict) -> Stage:
    """Return the stage of an operation in the form in which Keras serializes it.

    Example:
        >>> from keras_compress._keras import serialize
        >>> from keras_compress.layers import BinaryMask
        >>> op_stage(serialize(BinaryMask()))
        <Stage.MASK: 0>
    """
    return keras.saving.get_registered_object(description["registered_name"]).stage


def fixed_fits(operation: type[WeightOp]) -> bool:
    """Return whether :meth:`WeightOp.fixed` of a class was written for what the class computes.

    It was not if a subclass overrides ``call``, ``apply``, ``quantized``, ``range``, ``steps`` or ``grid_bits`` and inherits
    ``fixed``: the replacement would compute what the parent computes. Such an operation is exported as it is.

    Example:
        >>> from keras_compress.layers import SymmetricFakeQuantize
        >>> class Halves(SymmetricFakeQuantize):
        ...     def apply(self, inputs, training):
        ...         return inputs / 2
        >>> fixed_fits(SymmetricFakeQuantize), fixed_fits(Halves)
        (True, False)
    """
    for parent in operation.__mro__:
        if "fixed" in vars(parent):
            return True
        if any(name in vars(parent) for name in _COMPUTATION):
            return False
    return True
