"""Quantize what convolutions and matrix products of integers make, as runtimes need that compute from grid to grid.

TensorFlow Lite and ONNX Runtime run such an operation in integers only if its output has a grid of its own. OpenVINO does
not need it, and training neither, so the quantizers are added for the file alone.
"""

from __future__ import annotations

from collections import defaultdict

from keras_compress._keras import keras, serialize
from keras_compress.graph.compressed_entry import inner_entry
from keras_compress.graph.compressed_nodes import has_quantized_weights, inner_layer, inner_role, is_quantizer
from keras_compress.graph.edits import InsertLayer, apply_edits, reroute_edges, unused_name
from keras_compress.graph.layer_specs import LayerRole
from keras_compress.graph.snapshot import ModelSnapshot, entries
from keras_compress.graph.view import GraphNode, ModelGraph, NodeRef, TensorRef
from keras_compress.layers import AsymmetricFakeQuantize

__all__ = ["computes_with_integers", "quantize_outputs"]

#: Activation functions that runtimes carry out inside a convolution of integers.
_FUSED = ("linear", "relu", "relu6")
_FUSED_OPERATORS = ("nn.relu", "nn.relu6")


def quantize_outputs(
    snapshot: ModelSnapshot, *, of_matrix_products: bool = True
) -> tuple[ModelSnapshot, list[InsertLayer]]:
    """Return the model with a quantizer behind every layer that computes with integers, and the edits that made the new ones.

    A batch normalization and a rectifier behind the layer belong to it. An activation function inside a layer that is no
    rectifier becomes a layer of its own, because the quantizer stands before it. The new quantizers have no measured
    range yet.

    Args:
        snapshot: a compressed model.
        of_matrix_products: also behind dense layers, not only behind convolutions. Default True.
    """
    snapshot = _with_activations_apart(snapshot)
    graph = ModelGraph(snapshot)
    taken = {path for path, _ in graph.layers()}
    groups: dict[object, tuple[list[TensorRef], list[NodeRef]]] = defaultdict(lambda: ([], []))
    rerouted: dict[str, dict[tuple[NodeRef, TensorRef], TensorRef]] = defaultdict(dict)
    seen: set[TensorRef] = set()
    for node in graph.nodes.values():
        tensor = _end_of_operation(graph, TensorRef(*node.ref, 0))
        if tensor in seen or not computes_with_integers(graph, node):
            continue
        if not of_matrix_products and inner_layer(node)[0] in ("Dense", "EinsumDense"):
            continue
        seen.add(tensor)
        quantizers = [reader for reader in graph.consumers(tensor) if _quantizes(graph, reader)]
        others = [reader for reader in graph.consumers(tensor) if reader not in quantizers]
        if not quantizers and any(_quantizes(graph, reader) for reader in graph.successors(tensor)):
            continue
        if quantizers:
            rerouted[node.scope].update({(reader, tensor): TensorRef(*quantizers[0], 0) for reader in others})
        elif others:
            sources, readers = groups[_concatenation(graph, tensor) or tensor]
            sources.append(tensor)
            readers += others
    inserts = []
    for sources, readers in groups.values():
        scope = graph.producer(sources[0]).scope
        path = unused_name(f"{sources[0].layer}_output_quantizer", taken)
        op = AsymmetricFakeQuantize(8, name=path[len(scope) :])
        inserts.append(InsertLayer(scope, serialize(op), tuple(sources), tuple(dict.fromkeys(readers))))
    edited = apply_edits(snapshot, inserts)
    models = {"": edited.config["config"]}
    models.update({path + "/": entry["config"] for path, entry in entries(edited.config)})
    for scope, edges in rerouted.items():
        if edges:
            reroute_edges(models[scope], scope, edges)
    return edited, inserts


def _concatenation(graph: ModelGraph, tensor: TensorRef) -> NodeRef | None:
    """Return the concatenation that a tensor goes into without being changed; its inputs share one range."""
    while True:
        readers = graph.consumers(tensor)
        node = graph.nodes.get(readers[0]) if len(readers) == 1 else None
        if node is None or node.spec.role not in (LayerRole.TRANSPARENT, LayerRole.CONCAT):
            return None
        if node.spec.role is LayerRole.CONCAT:
            return node.ref
        tensor = TensorRef(*node.ref, 0)


def _with_activations_apart(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Return the model with the activation functions that are not fused as layers behind theirs."""
    edited = snapshot.edited()
    graph = ModelGraph(edited)
    taken = {path for path, _ in graph.layers()}
    by_path = dict(entries(edited.config))
    calls: dict[str, list[GraphNode]] = defaultdict(list)
    for node in graph.nodes.values():
        calls[node.ref.layer].append(node)
    inserts = []
    for path, nodes in calls.items():
        activation = inner_layer(nodes[0])[1].get("activation", "linear")
        if activation in _FUSED or not any(computes_with_integers(graph, node) for node in nodes):
            continue
        scope = nodes[0].scope
        name = unused_name(f"{path}_activation", taken)[len(scope) :]
        layer = serialize(keras.layers.Activation("linear", name=name))
        layer["config"]["activation"] = activation
        sources = tuple(TensorRef(*node.ref, 0) for node in nodes)
        readers = tuple(dict.fromkeys(reader for source in sources for reader in graph.consumers(source)))
        inserts.append(InsertLayer(scope, layer, sources, readers))
        inner_entry(by_path[path])["config"]["activation"] = "linear"
    return apply_edits(edited, inserts)


def computes_with_integers(graph: ModelGraph, node: GraphNode) -> bool:
    """Whether a node is a convolution or matrix product whose weights and input are quantized."""
    computes = has_quantized_weights(node) and inner_role(node) is LayerRole.COMPUTE
    return computes and all(_carries_integers(graph, tensor) for tensor in node.inputs)


def _carries_integers(graph: ModelGraph, tensor: TensorRef) -> bool:
    producer = graph.producer(tensor)
    if is_quantizer(producer):
        return True
    passing = producer.spec.role in (LayerRole.TRANSPARENT, LayerRole.CONCAT) and bool(producer.inputs)
    return passing and all(_carries_integers(graph, source) for source in producer.inputs)


def _quantizes(graph: ModelGraph, reader: NodeRef) -> bool:
    return reader in graph.nodes and is_quantizer(graph.nodes[reader])


def _end_of_operation(graph: ModelGraph, tensor: TensorRef) -> TensorRef:
    """Return the tensor behind what a runtime carries out together with the operation that makes ``tensor``."""
    linear = inner_layer(graph.producer(tensor))[1].get("activation", "linear") == "linear"
    while True:
        readers = graph.consumers(tensor)
        node = graph.nodes.get(readers[0]) if len(readers) == 1 else None
        if node is None or not _is_fused(node) or (node.is_a("BatchNormalization") and not linear):
            return tensor
        linear = linear and node.class_name not in ("ReLU", "Activation", "TFOpLambda")
        tensor = TensorRef(*node.ref, 0)


def _is_fused(node: GraphNode) -> bool:
    config = node.config
    if node.operator is not None:
        return node.operator in _FUSED_OPERATORS
    if node.is_a("Activation"):
        return config["activation"] in _FUSED
    if node.is_a("ReLU"):
        return (
            config.get("max_value") in (None, 6.0) and not config.get("negative_slope") and not config.get("threshold")
        )
    return node.is_a("BatchNormalization", "Dropout", "SpatialDropout1D", "SpatialDropout2D")
