"""Where a constant can be added to what a layer makes: its own bias, or the mean of the batch normalization behind it."""

from __future__ import annotations

from dataclasses import dataclass

from keras_compress.graph.layer_specs import LayerRole
from keras_compress.graph.normalized_layers import normalized_layers
from keras_compress.graph.view import ModelGraph

__all__ = ["BiasCarrier", "bias_carriers", "linear_kernels"]


@dataclass(frozen=True)
class BiasCarrier:
    """The variable that carries the bias of a layer.

    Attributes:
        layer: path of the layer that computes.
        weight: dotted path of its kernel.
        owner: path of the layer that owns the variable: itself, or a batch normalization.
        variable: name of the variable.
        sign: what to multiply a constant by that is to be added to the output of the layer: 1 or -1.
    """

    layer: str
    weight: str
    owner: str
    variable: str
    sign: int


def linear_kernels(graph: ModelGraph) -> dict[str, str]:
    """Return, by path, the dotted path of the kernel of every layer of Keras that multiplies by one kernel."""
    return {
        path: node.spec.weights[0].path
        for path, node in graph.layers()
        if node.builtin and node.spec.role is LayerRole.COMPUTE and len(node.spec.weights) == 1
    }


def bias_carriers(graph: ModelGraph) -> dict[str, BiasCarrier]:
    """Return, by path, the carrier of every layer of :func:`linear_kernels` that has one.

    Args:
        graph: a model that is not compressed, batch normalization not folded.
    """
    behind = {layers[0]: path for path, layers in normalized_layers(graph).items() if len(layers) == 1}
    found = {}
    for path, weight in linear_kernels(graph).items():
        if "bias" in graph.snapshot.weights[path]:
            found[path] = BiasCarrier(path, weight, path, "bias", 1)
        elif path in behind:
            found[path] = BiasCarrier(path, weight, behind[path], "moving_mean", -1)
    return found
