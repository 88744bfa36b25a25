"""Operations: how many multiply-accumulates each layer does, and in how many bits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from keras_compress._keras import calls_of, is_graph_model, keras, number_of_calls
from keras_compress.graph import LayerRole, LayerSpec, ModelGraph, ModelSnapshot
from keras_compress.graph.serialization import describe
from keras_compress.layers import CompressedLayer, weight_owner

__all__ = ["OperationRow", "count_operations"]

_TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)


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
    description, _, _ = describe(model)
    specs = {path: node.spec for path, node in ModelGraph(ModelSnapshot(description, {}, {})).layers()}
    return tuple(_rows(model, specs, "", 1))


def _rows(model: keras.Model, specs: Mapping[str, LayerSpec], prefix: str, times: int) -> Iterator[OperationRow]:
    for layer in model.layers:
        if is_graph_model(layer):
            yield from _rows(layer, specs, prefix + layer.name + "/", times * number_of_calls(model, layer))
            continue
        compressed = isinstance(layer, CompressedLayer)
        inner = layer.layer if compressed else layer
        spec = specs[prefix + layer.name]
        if spec.role is LayerRole.COMPUTE and spec.weights:
            work = sum(
                _work(inner, *shapes, weight.path) for shapes in calls_of(model, layer) for weight in spec.weights
            )
            bits = min((op.value_bits for op in layer.weight_ops), default=32) if compressed else 32
            yield OperationRow(prefix + layer.name, times * work, bits)


def _work(layer: keras.layers.Layer, read: Sequence[int | None], made: Sequence[int | None], weight: str) -> int:
    """Count the multiply-accumulates of one call with one weight, by the shapes of its input and output."""
    owner, attribute = weight_owner(layer, weight)
    kernel = getattr(owner, attribute).shape.as_list()
    inputs, outputs = ([size or 1 for size in shape] for shape in (read, made))
    if isinstance(owner, keras.layers.EinsumDense):
        return _einsum_work(owner.equation, inputs, kernel)
    if isinstance(owner, (keras.layers.LocallyConnected1D, keras.layers.LocallyConnected2D)):
        return math.prod(outputs[1:]) * math.prod(owner.kernel_size) * inputs[-1]
    moving = inputs if isinstance(owner, _TRANSPOSED) else outputs
    first = getattr(owner, "data_format", "channels_last") == "channels_first"
    return math.prod(moving[2:] if first else moving[1:-1]) * math.prod(kernel)


def _einsum_work(equation: str, inputs: Sequence[int], kernel: Sequence[int]) -> int:
    """Multiply the sizes of all letters but that of the batch; an ellipsis is replaced by axes of the input."""
    left, rest = equation.replace(" ", "").split(",")
    second = rest.split("->")[0]
    letters = left.replace("...", "." * (len(inputs) - len(left.replace("...", ""))))
    sizes = {letter: size for letter, size in zip(letters, inputs, strict=False) if letter != "."}
    open_sizes = math.prod(size for letter, size in zip(letters[1:], inputs[1:], strict=False) if letter == ".")
    sizes.update(zip(second, kernel, strict=False))
    sizes.pop(letters[0], None)
    return open_sizes * math.prod(sizes.values())
