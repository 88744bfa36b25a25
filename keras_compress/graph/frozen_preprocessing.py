"""Which layers are signal processing written as layers: frozen and linear, between the inputs and a logarithm.

A mel matrix as a ``Dense`` that is not trained, or a Fourier transform as a ``Conv1D``, is no part of the network that
learns. Behind it a logarithm, a root, a power or a divisor needs the small values, which a grid of 256 levels would lose.
A frozen backbone is something else: its layers stand behind activation functions and normalizations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from keras_compress.graph.identity import is_builtin, is_own
from keras_compress.graph.layer_lookup import spec_of
from keras_compress.graph.layer_spec import LayerRole
from keras_compress.graph.view import GraphNode, ModelGraph, NodeRef, TensorRef
from keras_compress.layers import Constant, Parameter

__all__ = ["frozen_preprocessing"]

#: Activation functions that the table of layers has no rows for.
_ACTIVATIONS = ("ELU", "ThresholdedReLU", "PReLU")
_ACTIVATION_OPERATORS = frozenset(
    f"nn.{name}" for name in ("elu", "gelu", "silu", "swish", "selu", "leaky_relu", "crelu", "log_softmax")
)


def frozen_preprocessing(graph: ModelGraph, may_be: Callable[[str], bool] = lambda path: True) -> frozenset[str]:
    """Return the paths of the layers that stay in floating point as signal processing.

    Such a layer is a convolution or a dense layer without an activation function. None of its weights is trained. It is
    on the way into an input that needs the full dynamic range, and all of that way, from the inputs of the model on,
    consists of nodes without weights and of other such layers. A layer with several calls is one only if every call is.

    Args:
        graph: an uncompressed model.
        may_be: whether the layer at a path may be one. Default: every layer.

    Example:
        >>> import tensorflow as tf
        >>> from keras_compress._keras import keras
        >>> from keras_compress.graph import take
        >>> power = keras.Input((10, 8))
        >>> bands = keras.layers.Dense(4, use_bias=False, trainable=False, name="bands")(power)
        >>> sorted(frozen_preprocessing(ModelGraph(take(keras.Model(power, tf.math.log(bands + 1e-6))))))
        ['bands']
    """
    ends = [
        tensor
        for node in graph.nodes.values()
        if node.spec.sensitive_from is not None and not node.spec.is_activation
        for tensor in node.inputs[node.spec.sensitive_from :]
    ]
    calls: dict[str, set[NodeRef]] = defaultdict(set)
    for node in graph.nodes.values():
        if _is_linear(node) and may_be(node.ref.layer) and _is_frozen(graph, node):
            calls[node.ref.layer].add(node.ref)
    while True:
        found = _on_clean_ways(graph, ends, frozenset(calls))
        partly = [layer for layer, refs in calls.items() if refs & found and not refs <= found]
        if not partly:
            return frozenset(ref.layer for ref in found)
        for layer in partly:
            del calls[layer]


def _on_clean_ways(graph: ModelGraph, ends: list[TensorRef], layers: frozenset[str]) -> set[NodeRef]:
    """Return the calls of ``layers`` before the tensors that nothing but these layers and nodes without weights compute."""

    def is_clean(node: GraphNode) -> bool:
        return node.ref.layer in layers or _has_no_weights(graph, node)

    found: set[NodeRef] = set()
    for tensor in dict.fromkeys(ends) if layers else ():
        before = [graph.producer(one) for one in graph.backward([tensor], is_clean)]
        if all(map(is_clean, before)):
            found.update(node.ref for node in before if node.ref.layer in layers)
    return found


def _is_linear(node: GraphNode) -> bool:
    """Whether a node is a convolution or a dense layer without an activation function, one for each step of time included."""
    spec = node.spec
    inner = _inside(node)
    if inner is not None:
        spec = spec_of(inner["class_name"], inner["config"], builtin=is_builtin(inner))
    return spec.role is LayerRole.COMPUTE and bool(spec.weights) and spec.activation.name == "linear"


def _is_frozen(graph: ModelGraph, node: GraphNode) -> bool:
    """Whether no weight of a node is trained."""
    inner = _inside(node)
    around = [graph.nodes[ref].config for ref in graph.nodes if node.prefix.startswith(ref.layer + "/")]
    inside = [] if inner is None else [inner["config"]]
    return not all(config.get("trainable", True) for config in (node.config, *inside, *around))


def _inside(node: GraphNode) -> dict | None:
    """Return the description of the layer that a ``TimeDistributed`` applies, None if there is none."""
    return node.config.get("layer") if node.is_a("TimeDistributed") else None


def _has_no_weights(graph: ModelGraph, node: GraphNode) -> bool:
    """Whether a node neither has weights nor is an activation function; what a Normalization has is measured, not trained."""
    if node.is_model or node.is_a("InputLayer", "Normalization") or is_own(node.entry, Constant):
        return True
    if is_own(node.entry, Parameter):
        return not node.config.get("trainable", True)
    function = node.config.get("function")
    if (
        node.spec.is_activation
        or node.is_a(*_ACTIVATIONS)
        or (isinstance(function, str) and function in _ACTIVATION_OPERATORS)
    ):
        return False
    arrays = graph.snapshot.weights.get(node.ref.layer, {})
    return not node.spec.weights and not any(array.dtype.kind in "fV" for array in arrays.values())
