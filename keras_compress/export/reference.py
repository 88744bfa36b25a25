"""What a file should hold: the compressed weights of a model as its inference computes with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from keras_compress._keras import keras
from keras_compress.graph import ModelGraph, ModelSnapshot, take
from keras_compress.graph.passes.fix_quantizers import fix_quantizers
from keras_compress.graph.passes.quantize_outputs import computes_with_integers
from keras_compress.graph.passes.strip import compressed_arrays
from keras_compress.graph.passes.to_float32 import to_float32
from keras_compress.graph.snapshot import entries
from keras_compress.layers.compressed_layer import REGISTERED_NAME

__all__ = ["ReferenceWeight", "reference_weights"]


@dataclass(frozen=True)
class ReferenceWeight:
    """A compressed weight of a model.

    Attributes:
        layer, weight: path of the layer and dotted path of the weight.
        values: float32, as inference computes with them.
        bits: of its grid; 1 if it is binary, 32 if it has only been masked.
        step: the smallest step of its grid over the channels, 0 without a grid.
        input_quantized: whether its layer computes with quantized inputs.
    """

    layer: str
    weight: str
    values: np.ndarray
    bits: int
    step: float
    input_quantized: bool


def reference_weights(
    model: keras.Model, passes: Sequence[Callable[[ModelSnapshot], ModelSnapshot]] = ()
) -> list[ReferenceWeight]:
    """Return every compressed weight of ``model``, as it is after ``passes`` of a format."""
    trained = to_float32(take(model))
    graph = ModelGraph(trained)
    integer_layers = {node.ref.layer for node in graph.nodes.values() if computes_with_integers(graph, node)}
    inference = fix_quantizers(trained)
    for rewrite in passes:
        inference = rewrite(inference)
    final = dict(entries(inference.config))
    found = []
    for path, entry in entries(trained.config):
        if entry.get("registered_name") != REGISTERED_NAME:
            continue
        operations = entry["config"]["operations"]
        for weight in dict.fromkeys(name for name, _ in operations):
            last = [op for name, op in operations if name == weight][-1]
            values, step = _inference_weight(final[path], inference.weights[path], weight)
            bits = last["config"].get("num_bits", 1 if last["class_name"] == "BinaryWeight" else 32)
            found.append(ReferenceWeight(path, weight, values, bits, step, path in integer_layers))
    return found


def _inference_weight(entry: dict, arrays, weight: str) -> tuple[np.ndarray, float]:
    """Return a weight and the step of its grid, of a layer that is still wrapped or not."""
    if entry.get("registered_name") != REGISTERED_NAME:
        return arrays[weight], 0.0
    values = compressed_arrays(entry["config"], arrays)[weight]
    for index, (name, op) in enumerate(entry["config"]["operations"]):
        if name == weight:
            steps = 2 ** op["config"]["num_bits"] - (2 if op["config"]["narrow_range"] else 1)
            low, high = (arrays[f"weight_ops.{index}.{end}"] for end in ("low", "high"))
            return values, float(np.min((high - low) / steps))
    return values, 0.0
