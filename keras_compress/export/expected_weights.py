"""What a file should hold: the compressed weights of a model as its inference computes with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from keras_compress.graph import ModelGraph, ModelSnapshot
from keras_compress.graph.compressed_entry import CompressedEntry, Operation
from keras_compress.graph.integer_computation import computes_with_integers
from keras_compress.graph.operator_constants import layers_of_constants
from keras_compress.graph.passes.fix_quantizers import fix_quantizers
from keras_compress.graph.passes.to_float32 import to_float32
from keras_compress.graph.snapshot import entries
from keras_compress.layers import BinaryWeight
from keras_compress.layers.fixed_fake_quantize import fixed_scale

__all__ = ["ExpectedWeight", "expected_weights"]


@dataclass(frozen=True)
class ExpectedWeight:
    """A compressed weight of a model.

    Attributes:
        layer, weight: path of the layer and dotted path of the weight.
        values: float32, as inference computes with them.
        bits: of its grid; 1 if it is binary, 32 if it has only been masked.
        step: the smallest step of its grid over the channels, 0 without a grid.
        input_quantized: whether its layer computes with quantized inputs.
        needed: whether an output of the model depends on its layer, and all that the layer reads on the inputs; most formats leave
            other weights out, or multiply them out.
    """

    layer: str
    weight: str
    values: np.ndarray
    bits: int
    step: float
    input_quantized: bool
    needed: bool = True


def expected_weights(
    snapshot: ModelSnapshot, passes: Sequence[Callable[[ModelSnapshot], ModelSnapshot]] = ()
) -> list[ExpectedWeight]:
    """Return every compressed weight of a model, as it is after the ``passes`` of a format.

    Layers that read constants only have no weights in a file: their outputs are constants there.
    """
    trained = to_float32(snapshot)
    graph = ModelGraph(trained)
    integer_layers = {node.ref.layer for node in graph.nodes.values() if computes_with_integers(graph, node)}
    needed = {tensor.layer for tensor in graph.backward(graph.outputs(), lambda node: True)}
    needed -= layers_of_constants(graph, partly=True)
    folded = layers_of_constants(graph)
    inference = fix_quantizers(trained)
    for rewrite in passes:
        inference = rewrite(inference)
    final = dict(entries(inference.config))
    found = []
    for path, entry in entries(trained.config):
        wrapped = CompressedEntry.of(entry, trained.weights.get(path, {}))
        if wrapped is None or path in folded:
            continue
        inside = CompressedEntry.of(final[path], inference.weights[path])
        for weight in dict.fromkeys(operation.weight for operation in wrapped.operations):
            last = [operation for operation in wrapped.operations if operation.weight == weight][-1]
            values = inference.weights[path][weight] if inside is None else inside.mapped_arrays()[weight]
            step = 0.0 if inside is None else _step(inside, weight)
            found.append(
                ExpectedWeight(path, weight, values, _bits(last), step, path in integer_layers, path in needed)
            )
    return found


def _bits(operation: Operation) -> int:
    return operation.settings.get("num_bits", 1 if issubclass(operation.operation_class, BinaryWeight) else 32)


def _step(wrapped: CompressedEntry, weight: str) -> float:
    """Return the smallest step of the grid of a weight, 0 without a grid."""
    for operation in wrapped.operations:
        if operation.weight == weight:
            return float(fixed_scale(operation.settings, operation.arrays).min())
    return 0.0
