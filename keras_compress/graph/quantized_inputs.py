"""Which quantizers stand before which layer of a compressed model."""

from __future__ import annotations

from keras_compress.graph.compressed_nodes import inner_role, is_compressed, is_quantizer
from keras_compress.graph.layer_specs import LayerRole
from keras_compress.graph.view import GraphNode, ModelGraph

__all__ = ["quantizers_before_layers"]

_PASSING = (LayerRole.TRANSPARENT, LayerRole.CONCAT)


def quantizers_before_layers(graph: ModelGraph) -> dict[str, tuple[str, ...]]:
    """Return, for every layer that has compressed weights or reads quantized tensors, the paths of those quantizers.

    Layers that only move values stand between: their quantizers are those of the layers behind them.

    Args:
        graph: a compressed model.
    """
    found: dict[str, dict[str, None]] = {}
    for node in graph.nodes.values():
        if is_quantizer(node) or _hands_on(node):
            continue
        reached = graph.backward(node.inputs, _hands_on)
        before = [tensor.layer for tensor in reached if is_quantizer(graph.producer(tensor))]
        if before or is_compressed(node):
            found.setdefault(node.ref.layer, {}).update(dict.fromkeys(before))
    return {path: tuple(quantizers) for path, quantizers in found.items()}


def _hands_on(node: GraphNode) -> bool:
    """Whether a node only moves values, or is a border of a nested model."""
    return inner_role(node) in _PASSING or node.class_name == "InputLayer" or "layers" in node.config
