"""Which batch normalizations directly follow which convolutions, so that one can stand for a part of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keras_compress.graph.compressed_entry import inner_entry
from keras_compress.graph.identity import is_builtin, is_operation
from keras_compress.graph.snapshot import entries
from keras_compress.graph.view import GraphNode, ModelGraph, TensorRef

__all__ = ["normalized_layers"]

#: Rank of the input of each class that a batch normalization can be folded into.
_RANKS = {f"Conv{rank}D{kind}": rank + 2 for rank in (1, 2, 3) for kind in ("", "Transpose")}
_RANKS |= {"DepthwiseConv1D": 3, "DepthwiseConv2D": 4}
#: Layers that do nothing at inference.
_INERT = {"Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianNoise", "GaussianDropout"}
#: Layers that make a tensor of rank two, and layers that leave the rank as it is.
_FLATTENING = {"Flatten", *(f"Global{kind}Pooling{rank}D" for kind in ("Average", "Max") for rank in (1, 2, 3))}
_KEEPING_RANK = {"Dense", "Activation", "ReLU", "Dropout", "BatchNormalization"}


def normalized_layers(graph: ModelGraph) -> dict[str, tuple[str, ...]]:
    """Return for the path of every batch normalization that directly follows convolutions or dense layers their paths.

    There is one layer for each call of the normalization. Nobody else reads what such a layer makes, its activation is
    linear, and it is called only once; so the normalization can be folded into it.
    """
    by_path = dict(entries(graph.snapshot.config))
    calls: dict[str, list[GraphNode]] = {}
    for node in graph.nodes.values():
        calls.setdefault(node.ref.layer, []).append(node)
    found = {}
    for path, nodes in calls.items():
        if nodes[0].is_a("BatchNormalization"):
            layers = [_layer_before(graph, node, by_path, calls) for node in nodes]
            if None not in layers and len(set(layers)) == len(layers):
                found[path] = tuple(filter(None, layers))
    return found


def _layer_before(
    graph: ModelGraph, normalization: GraphNode, by_path: Mapping[str, dict], calls: Mapping[str, Sequence[GraphNode]]
) -> str | None:
    """Return the layer that a call of a normalization can be folded into, behind layers that do nothing at inference.

    Nobody else may read what it makes, and it may be called only once.
    """
    reader, tensor = normalization, normalization.inputs[0]
    while True:
        node = graph.producer(tensor)
        if graph.consumers(tensor) != (reader.ref,) or not node.inputs:
            return None
        if not _is_inert(node):
            break
        reader, tensor = node, node.inputs[0]
    inner = inner_entry(by_path[node.ref.layer])
    if len(calls[node.ref.layer]) != 1 or not _is_foldable(inner):
        return None
    rank = _RANKS.get(inner["class_name"]) or _rank_of_output(graph, tensor)
    return node.ref.layer if _axis(normalization) in (-1, rank and rank - 1) else None


def _is_inert(node: GraphNode) -> bool:
    return node.is_a(*_INERT) or (node.is_a("Activation") and node.config["activation"] == "linear")


def _is_foldable(inner: dict) -> bool:
    if not is_builtin(inner) or inner["class_name"] not in {*_RANKS, "Dense"}:
        return False
    return inner["config"].get("activation") == "linear" and inner["config"].get("data_format") != "channels_first"


def _rank_of_output(graph: ModelGraph, tensor: TensorRef) -> int | None:
    """Return the rank of a tensor if a layer of known rank is found behind layers that keep it; else None."""
    while True:
        node = graph.producer(tensor)
        if not is_operation(node.entry):
            inner = inner_entry(node.entry)
            class_name = inner["class_name"] if is_builtin(inner) else None
            if class_name in _FLATTENING and not node.config.get("keepdims"):
                return 2
            shape = node.config.get("batch_input_shape")
            if class_name == "InputLayer" and shape is not None:
                return len(shape)
            if class_name not in _KEEPING_RANK or len(node.inputs) != 1:
                return None
        tensor = node.inputs[0]


def _axis(normalization: GraphNode) -> int | None:
    axes = normalization.config["axis"]
    axes = list(axes) if isinstance(axes, Sequence) else [axes]
    return axes[0] if len(axes) == 1 else None
