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

__all__ = ["IntegerWeight", "Stage", "WeightOp", "op_stage"]


class Stage(enum.IntEnum):
    """The order in which the operations of one weight are applied."""

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
        num_bits: bits of the grid; the values may lie in a wider container.
    """

    values: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray
    num_bits: int

    def dequantize(self) -> np.ndarray:
        """Return the float32 weight that the integers stand for."""
        return (self.scale * (self.values.astype(np.int32) - self.zero_point)).astype(np.float32)


class WeightOp(keras.layers.Layer):
    """Base of every operation on a weight.

    A subclass sets ``stage``, creates its variables in ``build(shape)`` and maps the weight in
    ``call(weight, training)`` to a tensor of the same shape, with a gradient. Variables and arithmetic are float32
    whatever the policy of the model.

    Attributes:
        stage: where the operation stands among the operations of the same weight.
    """

    stage: Stage

    def __init__(self, **kwargs):
        kwargs.setdefault("dtype", "float32")
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)

    def to_integer(self, weight: np.ndarray) -> IntegerWeight | None:
        """Return the mapped weight as integers, or None when the operation does not put it on an integer grid."""
        return None

    def fixed(self, num_bits: int | None = None) -> tuple[keras.layers.Layer, Mapping[str, np.ndarray]] | None:
        """Return what stands for the operation in a model for inference: a layer without trained variables, and its arrays.

        Default None: a weight is mapped once and for all, and an operation on an activation stays as it is.

        Args:
            num_bits: bits of the container in which the runtime holds the integers of a grid; default: those of the grid.
        """
        return None

    def get_config(self) -> dict:
        config = super().get_config()
        config.pop("autocast", None)
        return config


def op_stage(description: dict) -> Stage:
    """Return the stage of a serialized operation."""
    return keras.saving.get_registered_object(description["registered_name"]).stage
