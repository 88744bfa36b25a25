"""Quantize what convolutions and matrix products of integers make, as runtimes need that compute from grid to grid.

TensorFlow Lite and ONNX Runtime run such an operation in integers only if its output has a grid of its own. OpenVINO
does not need it. The quantizers stand in the model from the start where the configuration names such a runtime
(:mod:`keras_compress.algorithms.target_runtime`); else they are added for the file alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from keras_compress._keras import keras, serialize
from keras_compress.graph.activations import LINEAR
from keras_compress.graph.compressed_entry import inner_entry
from keras_compress.graph.edits import InsertLayer, apply_edits, reroute_edges
from keras_compress.graph.integer_computation import computes_with_integers, is_quantizer
from keras_compress.graph.layer_spec import LayerRole
from keras_compress.graph.names import unused_name
from keras_compress.graph.snapshot import ModelSnapshot, entries
from keras_compress.graph.view import GraphNode, ModelGraph, NodeRef, TensorRef
from keras_compress.layers import AsymmetricFakeQuantize, SymmetricFakeQuantize

__all__ = ["activations_apart", "missing_grids", "output_quantizer", "quantize_outputs"]


def quantize_outputs(
    snapshot: ModelSnapshot,
    *,
    of_matrix_products: bool = True,
    into_recurrent_layers: bool = True,
    symmetric: bool = False,
) -> tuple[ModelSnapshot, list[InsertLayer]]:
    """Return the model with a quantizer behind every layer that computes with integers, and the edits that made the new ones.

    A batch normalization and a rectifier behind the layer belong to it. An activation function inside a layer that is
    no rectifier becomes a layer of its own, because the quantizer stands before it. The new quantizers have no measured
    range yet.

    Args:
        snapshot: a compressed model.
        of_matrix_products: also behind dense layers, not only behind convolutions. Default True.
        into_recurrent_layers: also where a recurrent layer reads the output. Default True.
        symmetric: with grids that are symmetric around zero. Default False.
    """
    snapshot = activations_apart(snapshot, computes_with_integers)
    graph = ModelGraph(snapshot)
    groups, shared = missing_grids(
        graph, of_matrix_products=of_matrix_products, into_recurrent_layers=into_recurrent_layers
    )
    taken = {path for path, _ in graph.layers()}
    inserts = []
    for sources, readers in groups:
        prefix, path = output_quantizer(graph, sources[0], taken)
        name = path[len(prefix) :]
        op = SymmetricFakeQuantize(8, signed=True, name=name) if symmetric else AsymmetricFakeQuantize(8, name=name)
        inserts.append(InsertLayer(prefix, serialize(op), sources, readers))
    edited = apply_edits(snapshot, inserts)
    models = {"": edited.config["config"]}
    models.update({path + "/": entry["config"] for path, entry in entries(edited.config)})
    rerouted: dict[str, dict[tuple[NodeRef, TensorRef], TensorRef]] = defaultdict(dict)
    for (reader, tensor), quantizer in shared.items():
        rerouted[graph.producer(tensor).prefix][reader, tensor] = TensorRef(*quantizer, 0)
    for prefix, edges in rerouted.items():
        reroute_edges(models[prefix], prefix, edges)
    return edited, inserts


def output_quantizer(graph: ModelGraph, source: TensorRef, taken: set[str]) -> tuple[str, str]:
    """Return the prefix of the model that a tensor belongs to, and a new path for a quantizer behind it."""
    return graph.producer(source).prefix, unused_name(f"{source.layer}_output_quantizer", taken)


def missing_grids(
    graph: ModelGraph, *, of_matrix_products: bool = True, into_recurrent_layers: bool = True
) -> tuple[list[tuple[tuple[TensorRef, ...], tuple[NodeRef, ...]]], dict[tuple[NodeRef, TensorRef], NodeRef]]:
    """Return what has to read a quantizer for every layer that computes with integers to have an output on a grid.

    Args:
        graph: a compressed model.
        of_matrix_products, into_recurrent_layers: as in :func:`quantize_outputs`.

    Returns:
        For each new quantizer the tensors that share it and the nodes that read them; and for nodes that read a tensor which has a
        quantizer already, by node and tensor, that quantizer.
    """
    groups: dict[object, tuple[list[TensorRef], list[NodeRef]]] = defaultdict(lambda: ([], []))
    shared: dict[tuple[NodeRef, TensorRef], NodeRef] = {}
    seen: set[TensorRef] = set()
    for node in graph.nodes.values():
        tensor = _end_of_operation(graph, TensorRef(*node.ref, 0))
        if tensor in seen or not computes_with_integers(graph, node):
            continue
        if not of_matrix_products and node.spec.linear and not node.spec.convolution:
            continue
        seen.add(tensor)
        quantizers = [reader for reader in graph.consumers(tensor) if _quantizes(graph, reader)]
        others = [reader for reader in graph.consumers(tensor) if reader not in quantizers]
        if not into_recurrent_layers:
            others = [reader for reader in others if not _leads_to_recurrent(graph, reader)]
        if not quantizers and any(_quantizes(graph, reader) for reader in graph.successors(tensor)):
            continue
        if quantizers:
            shared.update({(reader, tensor): quantizers[0] for reader in others})
        elif others:
            sources, readers = groups[_concatenation(graph, tensor) or tensor]
            sources.append(tensor)
            readers += others
    new = [(tuple(sources), tuple(dict.fromkeys(readers))) for sources, readers in groups.values()]
    return new, shared


def _concatenation(graph: ModelGraph, tensor: TensorRef) -> NodeRef | None:
    """Return the concatenation that a tensor goes into without being changed; its inputs share one range."""
    while True:
        readers = graph.consumers(tensor)
        node = graph.nodes.get(readers[0]) if len(readers) == 1 else None
        if node is None or not node.spec.moves_values:
            return None
        if node.spec.role is LayerRole.CONCAT:
            return node.ref
        tensor = TensorRef(*node.ref, 0)


def activations_apart(snapshot: ModelSnapshot, computes: Callable[[ModelGraph, GraphNode], bool]) -> ModelSnapshot:
    """Return the model with the activation functions that runtimes do not fuse as layers behind theirs.

    Args:
        snapshot: the model.
        computes: whether a node computes with integers; only their activation functions are moved.
    """
    edited = snapshot.edited()
    graph = ModelGraph(edited)
    taken = {path for path, _ in graph.layers()}
    by_path = dict(entries(edited.config))
    calls: dict[str, list[GraphNode]] = defaultdict(list)
    for node in graph.nodes.values():
        calls[node.ref.layer].append(node)
    inserts = []
    for path, nodes in calls.items():
        spec, prefix = nodes[0].spec, nodes[0].prefix
        if (
            spec.activation.fused
            or spec.activation_argument is None
            or not any(computes(graph, node) for node in nodes)
        ):
            continue
        name = unused_name(f"{path}_activation", taken)[len(prefix) :]
        layer = serialize(keras.layers.Activation("linear", name=name))
        layer["config"]["activation"] = nodes[0].config[spec.activation_argument]
        sources = tuple(TensorRef(*node.ref, 0) for node in nodes)
        readers = tuple(dict.fromkeys(reader for source in sources for reader in graph.consumers(source)))
        inserts.append(InsertLayer(prefix, layer, sources, readers))
        inner_entry(by_path[path])["config"][spec.activation_argument] = "linear"
    return apply_edits(edited, inserts)


def _leads_to_recurrent(graph: ModelGraph, reader: NodeRef) -> bool:
    """Whether a node is a recurrent layer, or only moves values and one of those that read them is."""
    waiting = [reader]
    for current in waiting:
        node = graph.nodes.get(current)
        if node is None:
            continue
        if any("cell" in weight.path.split(".") for weight in node.spec.weights):
            return True
        if node.spec.moves_values or node.spec.inert_at_inference:
            fresh = [ref for tensor in graph.outputs_of(current) for ref in graph.successors(tensor)]
            waiting += [ref for ref in fresh if ref not in waiting]
    return False


def _quantizes(graph: ModelGraph, reader: NodeRef) -> bool:
    return reader in graph.nodes and is_quantizer(graph.nodes[reader])


def _end_of_operation(graph: ModelGraph, tensor: TensorRef) -> TensorRef:
    """Return the tensor behind what a runtime carries out together with the operation that makes ``tensor``."""
    linear = graph.producer(tensor).spec.activation is LINEAR
    while True:
        readers = graph.consumers(tensor)
        node = graph.nodes.get(readers[0]) if len(readers) == 1 else None
        if node is None or not _is_fused(node) or (node.is_a("BatchNormalization") and not linear):
            return tensor
        linear = linear and not node.spec.is_activation
        tensor = TensorRef(*node.ref, 0)


def _is_fused(node: GraphNode) -> bool:
    spec = node.spec
    return spec.inert_at_inference or node.is_a("BatchNormalization") or (spec.is_activation and spec.activation.fused)
