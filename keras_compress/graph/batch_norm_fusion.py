"""Find the batch normalizations that can be folded into the layer before them, and where a layer can take a bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keras_compress.graph.activations import LINEAR
from keras_compress.graph.identity import is_operation
from keras_compress.graph.view import GraphNode, ModelGraph, TensorRef

__all__ = ["BiasLocation", "bias_locations", "foldable_batch_norms", "linear_kernels"]


@dataclass(frozen=True)
class BiasLocation:
    """The variable to which a shift of a layer's output can be added.

    Attributes:
        layer: path of the layer that computes.
        weight: dotted path of its kernel.
        owner: path of the layer that owns the variable: itself, or the batch normalization behind it.
        variable: name of the variable: its bias, or the moving mean of the batch normalization.
        sign: what a shift of the output is multiplied by before it is added: 1, or -1 for a mean.
    """

    layer: str
    weight: str
    owner: str
    variable: str
    sign: int


def linear_kernels(graph: ModelGraph) -> dict[str, str]:
    """Return, by path, the dotted path of the kernel of every linear layer."""
    return {path: node.spec.weights[0].path for path, node in graph.layers() if node.spec.linear}


def bias_locations(graph: ModelGraph) -> dict[str, BiasLocation]:
    """Return, by path, where a bias can be added to each layer of :func:`linear_kernels`; some have no such place.

    Args:
        graph: a model that is not compressed, batch normalization not folded.
    """
    behind = {layers[0]: path for path, layers in foldable_batch_norms(graph).items() if len(layers) == 1}
    found = {}
    for path, weight in linear_kernels(graph).items():
        if "bias" in graph.snapshot.weights[path]:
            found[path] = BiasLocation(path, weight, path, "bias", 1)
        elif path in behind:
            found[path] = BiasLocation(path, weight, behind[path], "moving_mean", -1)
    return found


def foldable_batch_norms(graph: ModelGraph) -> dict[str, tuple[str, ...]]:
    """Return the batch normalizations that can be folded: for the path of each, the layers before it, one for each call.

    Such a layer is foldable and called once, has no activation function, and only the normalization reads its output.
    """
    calls: dict[str, list[GraphNode]] = {}
    for node in graph.nodes.values():
        calls.setdefault(node.ref.layer, []).append(node)
    found = {}
    for path, nodes in calls.items():
        if nodes[0].is_a("BatchNormalization"):
            layers = [_layer_before(graph, node, calls) for node in nodes]
            if None not in layers and len(set(layers)) == len(layers):
                found[path] = tuple(filter(None, layers))
    return found


def _layer_before(graph: ModelGraph, normalization: GraphNode, calls: Mapping[str, Sequence[GraphNode]]) -> str | None:
    """Return the path of the layer that a call of a normalization can be folded into; layers inert at inference are skipped."""
    reader, tensor = normalization, normalization.inputs[0]
    while True:
        node = graph.producer(tensor)
        if graph.consumers(tensor) != (reader.ref,) or not node.inputs:
            return None
        if not node.spec.inert_at_inference:
            break
        reader, tensor = node, node.inputs[0]
    foldable = node.spec.foldable and node.spec.activation is LINEAR
    if len(calls[node.ref.layer]) != 1 or not foldable:
        return None
    rank = _rank(graph, tensor)
    return node.ref.layer if _axis(normalization) in (-1, rank and rank - 1) else None


def _rank(graph: ModelGraph, tensor: TensorRef) -> int | None:
    """Return the rank of a tensor, None if the layers before it do not tell."""
    while True:
        node = graph.producer(tensor)
        if node.spec.rank is not None:
            return node.spec.rank
        if len(node.inputs) != 1 or not (node.spec.keeps_rank or is_operation(node.entry)):
            return None
        tensor = node.inputs[0]


def _axis(normalization: GraphNode) -> int | None:
    axes = normalization.config["axis"]
    axes = list(axes) if isinstance(axes, Sequence) else [axes]
    return axes[0] if len(axes) == 1 else None
