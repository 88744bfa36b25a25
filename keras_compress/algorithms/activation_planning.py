"""plan_activations: how an algorithm puts operations on activations.

Where they are placed is decided before, as by :mod:`keras_compress.graph.quantization_points`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from keras_compress._keras import serialize
from keras_compress.graph import InsertLayer, ModelGraph, unused_name
from keras_compress.graph.quantization_points import QuantizationPoint
from keras_compress.layers import WeightOp

__all__ = ["plan_activations"]


def plan_activations(
    graph: ModelGraph,
    points: Iterable[QuantizationPoint],
    make_op: Callable[[QuantizationPoint, str], WeightOp],
    suffix: str,
) -> list[InsertLayer]:
    """Return the edits that put an operation on each of some points of a model.

    Args:
        graph: the model.
        points: the tensors that share an operation, and the nodes that read them behind it.
        make_op: returns the operation for a point, to be created with the name given.
        suffix: what the name of an operation adds to that of the layer before it, as ``"quantizer"``.

    Example:
        >>> from keras_compress._keras import keras
        >>> from keras_compress.graph import NodeRef, TensorRef, take
        >>> from keras_compress.layers import SymmetricFakeQuantize
        >>> graph = ModelGraph(take(keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2, name="dense")])))
        >>> point = QuantizationPoint((TensorRef("x", 0, 0),), (NodeRef("dense", 0),))
        >>> [edit] = plan_activations(graph, [point], lambda point, name: SymmetricFakeQuantize(name=name), "quantizer")
        >>> edit.path
        'x_quantizer'
    """
    taken = {path for path, _ in graph.layers()}
    edits = []
    for point in points:
        source = point.sources[0]
        prefix = graph.producer(source).prefix
        call = f"_{source.node}_{source.output}" if source.node or source.output else ""
        path = unused_name(f"{source.layer}_{suffix}{call}", taken)
        op = make_op(point, path[len(prefix) :])
        edits.append(InsertLayer(prefix, serialize(op), point.sources, point.consumers))
    return edits
