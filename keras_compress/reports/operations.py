"""Operations: how many multiply-accumulates each layer does, and in how many bits."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from keras_compress._keras import is_graph_model, keras
from keras_compress.graph import LayerRole, LayerSpec, spec_of
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
    return tuple(_rows(model, "", 1))


def _rows(model: keras.Model, prefix: str, times: int) -> Iterator[OperationRow]:
    nodes = [node for level in model._nodes_by_depth.values() for node in level]
    for layer in model.layers:
        calls = [node for node in nodes if node.layer is layer]
        if is_graph_model(layer):
            yield from _rows(layer, prefix + layer.name + "/", times * len(calls))
            continue
        inner = layer.layer if isinstance(layer, CompressedLayer) else layer
        spec = _spec(inner)
        if spec.role is LayerRole.COMPUTE and spec.weights:
            work = sum(_work(inner, call, weight.path) for call in calls for weight in spec.weights)
            yield OperationRow(prefix + layer.name, times * work, _bits(layer))


def _spec(layer: keras.layers.Layer) -> LayerSpec:
    """Return the row of a layer; a layer of the user's that cannot tell its configuration is known by its class alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of lambdas, and nothing is written here
        try:
            return spec_of(type(layer).__name__, layer.get_config())
        except NotImplementedError:
            return spec_of(type(layer).__name__)


def _work(layer: keras.layers.Layer, call: Any, weight: str) -> int:
    """Count the multiply-accumulates of one call with one weight."""
    owner, attribute = weight_owner(layer, weight)
    kernel = getattr(owner, attribute).shape.as_list()
    inputs, outputs = (
        [size or 1 for size in keras.backend.int_shape(tf.nest.flatten(tensors)[0])]
        for tensors in (call.input_tensors, call.outputs)
    )
    kind = type(owner).__name__
    if kind == "EinsumDense":
        return _einsum_work(owner.equation, inputs, kernel)
    if kind.startswith("LocallyConnected"):
        return math.prod(outputs[1:]) * math.prod(owner.kernel_size) * inputs[-1]
    moving = inputs if "Transpose" in kind else outputs
    first = getattr(owner, "data_format", "channels_last") == "channels_first"
    return math.prod(moving[2:] if first else moving[1:-1]) * math.prod(kernel)


def _einsum_work(equation: str, inputs: Sequence[int], kernel: Sequence[int]) -> int:
    """Multiply the sizes of all letters but that of the batch; an ellipsis stands for letters of the input."""
    left, rest = equation.replace(" ", "").split(",")
    second = rest.split("->")[0]
    letters = left.replace("...", "." * (len(inputs) - len(left.replace("...", ""))))
    sizes = {letter: size for letter, size in zip(letters, inputs, strict=False) if letter != "."}
    open_sizes = math.prod(size for letter, size in zip(letters[1:], inputs[1:], strict=False) if letter == ".")
    sizes.update(zip(second, kernel, strict=False))
    sizes.pop(letters[0], None)
    return open_sizes * math.prod(sizes.values())


def _bits(layer: keras.layers.Layer) -> int:
    bits = [32]
    for _, op in layer.operations if isinstance(layer, CompressedLayer) else []:
        if isinstance(op, FakeQuantize):
            bits.append(op.num_bits)
        elif isinstance(op, BinaryWeight) and bool(op.active.numpy()):
            bits.append(1)
    return min(bits)
