"""What the nodes of a compressed model are: quantizers, and layers inside the wrapper."""

from __future__ import annotations

from keras_compress.graph.compressed_entry import inner_entry, is_compressed_entry, weight_operations
from keras_compress.graph.identity import is_builtin, is_operation
from keras_compress.graph.layer_specs import LayerRole, LayerSpec, spec_of
from keras_compress.graph.view import GraphNode
from keras_compress.layers import FakeQuantize

__all__ = ["has_quantized_weights", "inner_layer", "inner_role", "inner_spec", "is_compressed", "is_quantizer"]


def is_quantizer(node: GraphNode) -> bool:
    """Return whether a node quantizes an activation."""
    return is_operation(node.entry, FakeQuantize)


def is_compressed(node: GraphNode) -> bool:
    """Return whether a node is a layer in the wrapper."""
    return is_compressed_entry(node.entry)


def has_quantized_weights(node: GraphNode) -> bool:
    """Return whether a node is a layer with a quantizer on one of its weights."""
    return is_compressed(node) and any(is_operation(op, FakeQuantize) for _, op in weight_operations(node.entry))


def inner_layer(node: GraphNode) -> tuple[str, dict]:
    """Return class and configuration of a layer, of the one inside if it is compressed."""
    inner = inner_entry(node.entry)
    return inner["class_name"], inner["config"]


def inner_spec(node: GraphNode) -> LayerSpec:
    """Return what the table says about a layer, about the one inside if it is compressed."""
    if not is_compressed(node):
        return node.spec
    inner = inner_entry(node.entry)
    return spec_of(inner["class_name"], inner["config"], builtin=is_builtin(inner))


def inner_role(node: GraphNode) -> LayerRole:
    """Return the role of a layer, of the one inside if it is compressed."""
    return inner_spec(node).role
