"""Operations: how many multiply-accumulates each layer does, and in how many bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from keras_compress._keras import keras
from keras_compress.graph import LayerRole, spec_of
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import BinaryWeight, CompressedLayer, FakeQuantize, weight_owner

__all__ = ["OperationRow", "count_operations"]


@dataclass(frozen=True)
class OperationRow:
    """A convolution or matrix product.

    Attributes:
        layer: path of the layer.
        multiply_accumulates: for one sample; an open size counts as one.
        bits: of its weights, 32 for floating point.
    """

    layer: str
    multiply_accumulates: int
    bits: int


def count_operations(model: keras.Model) -> tuple[OperationRow, ...]:
    """Return the convolutions and matrix products of a model, recurrent layers and attention excepted.

    Example:
        >>> model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(8, 3, name="conv")])
        >>> count_operations(model)
        (OperationRow(layer='conv', multiply_accumulates=864, bits=32),)
    """
    rows = []
    for path, layer in leaf_layers(model):
        inner = layer.layer if isinstance(layer, CompressedLayer) else layer
        try:
            spec = spec_of(type(inner).__name__, inner.get_config())
        except NotImplementedError:  # a layer of the user's that cannot tell its configuration
            continue
        if spec.role is LayerRole.COMPUTE and spec.weights:
            work = sum(_work(inner, node, weight) for node in layer._inbound_nodes for weight in spec.weights)
            rows.append(OperationRow(path, work, _bits(layer)))
    return tuple(rows)


def _work(layer: keras.layers.Layer, node: Any, weight: Any) -> int:
    """Count the multiply-accumulates of one call with one weight: its size at every position of the output."""
    owner, attribute = weight_owner(layer, weight.path)
    shape = getattr(owner, attribute).shape.as_list()
    transposed = "Transpose" in type(layer).__name__
    tensor = keras.backend.int_shape(_first(node.input_tensors if transposed else node.outputs))
    channels = shape[-1] if transposed else math.prod(shape[axis] for axis in weight.channel_axes)
    return math.prod(size or 1 for size in tensor[1:]) // max(channels, 1) * math.prod(shape)


def _first(structure: Any) -> Any:
    while isinstance(structure, (list, tuple)):
        structure = structure[0]
    return structure


def _bits(layer: keras.layers.Layer) -> int:
    bits = [32]
    for _, op in layer.operations if isinstance(layer, CompressedLayer) else []:
        if isinstance(op, FakeQuantize):
            bits.append(op.num_bits)
        elif isinstance(op, BinaryWeight) and bool(op.active.numpy()):
            bits.append(1)
    return min(bits)
