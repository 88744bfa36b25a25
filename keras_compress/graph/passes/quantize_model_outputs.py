"""Quantize the outputs of a model, for files whose outputs are integers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from keras_compress._keras import serialize
from keras_compress.graph.edits import InsertLayer, apply_edits
from keras_compress.graph.integer_computation import is_on_grid
from keras_compress.graph.names import unused_name
from keras_compress.graph.snapshot import ModelSnapshot
from keras_compress.graph.view import OUTPUT, ModelGraph, NodeRef, TensorRef
from keras_compress.layers import AsymmetricFakeQuantize

__all__ = ["quantize_model_outputs"]

#: Activation functions to whose outputs runtimes give a fixed grid.
_FIXED = ("softmax", "sigmoid", "tanh")


def quantize_model_outputs(
    snapshot: ModelSnapshot, floating: Sequence[bool]
) -> tuple[ModelSnapshot, list[InsertLayer]]:
    """Return the model with a quantizer at every output that has no grid yet, and the edits that made them.

    The new quantizers have no measured range yet. Outputs of softmax, sigmoid and tanh stay: runtimes give them a grid.

    Args:
        snapshot: a compressed model.
        floating: for each output, whether it is of floating point; others stay as they are.
    """
    graph = ModelGraph(snapshot)
    taken = {path for path, _ in graph.layers()}
    inserts = []
    for tensor in dict.fromkeys(itertools.compress(graph.model_outputs, floating)):
        if is_on_grid(graph, _inside(graph, tensor)) or _made_by(graph, tensor) in _FIXED:
            continue
        path = unused_name(f"{tensor.layer}_model_output_quantizer", taken)
        op = AsymmetricFakeQuantize(8, name=path)
        inserts.append(InsertLayer("", serialize(op), (tensor,), (NodeRef(OUTPUT, 0),)))
    return apply_edits(snapshot, inserts), inserts


def _inside(graph: ModelGraph, tensor: TensorRef) -> TensorRef:
    """Return the tensor of a nested model that an output of the model is, or the tensor itself."""
    while True:
        inside = graph.made_inside(tensor)
        if inside is None:
            return tensor
        tensor = inside


def _made_by(graph: ModelGraph, tensor: TensorRef) -> str:
    """Return the name of the activation function that makes a tensor."""
    return graph.producer(_inside(graph, tensor)).spec.activation.name
