"""Raise the scales of channels whose weights are so small that their bias does not fit beside them.

Runtimes that compute in integers add the bias to sums of products, as a 32-bit integer with the scale of the input times that
of the weights. A channel of tiny weights, as a normalization with a tiny gamma makes one, has a scale so small that its
bias leaves that range, and is cut off. On a coarser grid such weights lose nothing that could be seen beside the bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from keras_compress.graph.compressed_entry import CompressedEntry, Operation
from keras_compress.graph.identity import is_operation
from keras_compress.graph.snapshot import ModelSnapshot, entries
from keras_compress.graph.view import GraphNode, ModelGraph
from keras_compress.layers import FixedFakeQuantize
from keras_compress.layers.fixed_fake_quantize import fixed_scale

__all__ = ["fit_biases"]

#: The largest bias in integers: half of the range of int32, the other half is for the sum of products.
LARGEST = 2.0**30


def fit_biases(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Return the model with scales of weights that are large enough for the biases.

    It is for a model whose quantizers :func:`~keras_compress.graph.passes.fix_quantizers.fix_quantizers` has fixed, with batch
    normalization folded. Layers without a bias, or without a quantizer on their weights and inputs, stay as they are.
    """
    edited = snapshot.edited()
    weights = dict(edited.weights)
    by_path = dict(entries(edited.config))
    graph = ModelGraph(snapshot)
    steps: dict[str, list[float]] = {}
    for node in graph.nodes.values():
        if node.spec.linear:
            steps.setdefault(node.ref.layer, []).extend(_input_steps(graph, node, weights))
    for path, found in steps.items():
        wrapped = CompressedEntry.of(by_path[path], weights.get(path, {}))
        if wrapped is not None and found and "bias" in wrapped.arrays:
            smallest = np.abs(wrapped.arrays["bias"].astype(np.float64)) / (min(found) * LARGEST)
            operations = tuple(_raised(operation, smallest) for operation in wrapped.operations)
            weights[path] = replace(wrapped, operations=operations).write_to(by_path[path])
    return edited.with_weights(weights)


def _input_steps(graph: ModelGraph, node: GraphNode, weights: Mapping[str, Any]) -> list[float]:
    """Return the steps of the grids that a call of a layer reads."""
    reached = graph.backward(node.inputs, lambda before: before.spec.moves_values or before.is_model)
    producers = [graph.producer(tensor) for tensor in reached]
    return [
        float(fixed_scale(producer.entry["config"], weights[producer.ref.layer]).min())
        for producer in producers
        if is_operation(producer.entry, FixedFakeQuantize)
    ]


def _raised(operation: Operation, smallest: np.ndarray) -> Operation:
    """Return the quantizer of a weight with scales that are nowhere below ``smallest``; any other operation as it is."""
    if not issubclass(operation.operation_class, FixedFakeQuantize):
        return operation
    scale = fixed_scale(operation.settings, operation.arrays)
    smallest = smallest.max() if scale.ndim == 0 else smallest
    if np.shape(smallest) not in ((), scale.shape):
        return operation
    factor = np.maximum(smallest / np.maximum(scale, np.finfo(np.float32).tiny), 1.0)
    arrays = {name: (operation.arrays[name] * factor).astype(np.float32) for name in ("low", "high")}
    return replace(operation, arrays={**operation.arrays, **arrays})
