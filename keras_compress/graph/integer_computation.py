"""Which layers of a compressed model compute in integers: those with quantized weights whose inputs are quantized too.

Where quantizers are put, so that layers can, is decided in :mod:`~keras_compress.graph.quantization_points`; what a
runtime really does with a file is found by the audit of the file.
"""

from __future__ import annotations

from typing import Any

from keras_compress.graph.compressed_entry import is_compressed_entry, weight_operations
from keras_compress.graph.identity import operation_class
from keras_compress.graph.layer_spec import LayerRole
from keras_compress.graph.view import GraphNode, ModelGraph, TensorRef
from keras_compress.layers import FakeQuantize, fixed_fits

__all__ = [
    "computes_with_integers",
    "has_quantized_weights",
    "is_compressed",
    "is_on_grid",
    "is_quantizer",
    "quantizers_before_layers",
]


def is_quantizer(node: GraphNode) -> bool:
    """Return whether a node quantizes an activation, on a grid that runtimes know."""
    return _is_known_quantizer(node.entry)


def _is_known_quantizer(entry: dict[str, Any]) -> bool:
    """Whether an operation is a quantizer, and not one of another package that computes something else."""
    found = operation_class(entry)
    return found is not None and issubclass(found, FakeQuantize) and fixed_fits(found)


def is_compressed(node: GraphNode) -> bool:
    """Return whether operations are on the weights of a node."""
    return is_compressed_entry(node.entry)


def has_quantized_weights(node: GraphNode) -> bool:
    """Return whether a quantizer is on one of the weights of a node."""
    return is_compressed(node) and any(_is_known_quantizer(op) for _, op in weight_operations(node.entry))


def computes_with_integers(graph: ModelGraph, node: GraphNode) -> bool:
    """Return whether a node is a convolution or matrix product whose weights and inputs are quantized.

    Sums and poolings have no weights; they are not asked about here.
    """
    computes = has_quantized_weights(node) and node.spec.role is LayerRole.COMPUTE
    return computes and all(is_on_grid(graph, tensor) for tensor in node.inputs)


def is_on_grid(graph: ModelGraph, tensor: TensorRef) -> bool:
    """Return whether the values of a tensor are on the grid of a quantizer, so that a runtime can hold them as integers.

    Sizes and indices that say where values are moved to do not count.
    """
    producer = graph.producer(tensor)
    if is_quantizer(producer):
        return True
    moved = [source for source in producer.inputs if graph.is_activation(source)]
    return producer.spec.moves_values and bool(moved) and all(is_on_grid(graph, source) for source in moved)


def quantizers_before_layers(graph: ModelGraph) -> dict[str, tuple[str, ...]]:
    """Return, for every layer that has compressed weights or reads quantized tensors, the paths of those quantizers.

    Layers that only move values are looked through.

    Args:
        graph: a compressed model.
    """
    found: dict[str, dict[str, None]] = {}
    for node in graph.nodes.values():
        if is_quantizer(node) or _is_looked_through(node):
            continue
        reached = graph.backward(node.inputs, _is_looked_through)
        before = [tensor.layer for tensor in reached if is_quantizer(graph.producer(tensor))]
        if before or is_compressed(node):
            found.setdefault(node.ref.layer, {}).update(dict.fromkeys(before))
    return {path: tuple(quantizers) for path, quantizers in found.items()}


def _is_looked_through(node: GraphNode) -> bool:
    return node.spec.moves_values or node.class_name == "InputLayer" or node.is_model
