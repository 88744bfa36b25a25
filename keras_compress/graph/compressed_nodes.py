"""What the nodes of a compressed model are: quantizers, and layers inside the wrapper."""

from __future__ import annotations

from keras_compress.graph.layer_specs import LayerRole, spec_of
from keras_compress.graph.view import GraphNode
from keras_compress.layers import AsymmetricFakeQuantize, CompressedLayer, SymmetricFakeQuantize

__all__ = ["QUANTIZERS", "inner_layer", "inner_role", "is_compressed", "is_quantizer"]

#: Names of the classes that quantize.
QUANTIZERS = (SymmetricFakeQuantize.__name__, AsymmetricFakeQuantize.__name__)


def is_quantizer(node: GraphNode) -> bool:
    """Whether a node quantizes an activation."""
    return not node.stock and node.class_name in QUANTIZERS


def is_compressed(node: GraphNode) -> bool:
    """Whether a node is a layer in the wrapper."""
    return not node.stock and node.class_name == CompressedLayer.__name__


def inner_layer(node: GraphNode) -> tuple[str, dict]:
    """Return class and configuration of a layer, of the one inside if it is compressed."""
    if is_compressed(node):
        return node.config["layer"]["class_name"], node.config["layer"]["config"]
    return node.class_name, node.config


def inner_role(node: GraphNode) -> LayerRole:
    """Return the role of a layer, of the one inside if it is compressed."""
    return spec_of(*inner_layer(node)).role if is_compressed(node) else node.spec.role
