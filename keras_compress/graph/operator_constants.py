"""Constants that operators compute with, as weights in all but name: the kernel of ``tf.nn.conv2d(x, kernel)``.

They are no variables, so nothing compresses them. What an operator adds, multiplies element by element or joins counts as
a shift, a factor or a token and not as a weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_compress.graph.identity import is_own
from keras_compress.graph.topology import reached_from_inputs
from keras_compress.graph.view import GraphNode, ModelGraph
from keras_compress.layers import Constant, OperatorCall, Parameter

__all__ = ["layers_of_constants", "operator_constants"]

_NOT_WEIGHTS = frozenset(
    (
        "__operators__",
        "clip_by_value",
        "concat",
        "stack",
        "where",
        *(f"math.{name}" for name in ("add", "subtract", "multiply", "divide", "truediv", "divide_no_nan", "pow")),
        *(f"math.{name}" for name in ("maximum", "minimum", "squared_difference", "floordiv", "floormod", "mod")),
        *(f"math.{name}" for name in ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")),
    )
)


def operator_constants(graph: ModelGraph) -> Iterator[tuple[GraphNode, str, tuple[int, ...]]]:
    """Yield the operator, the name of the argument and the shape, for each constant of rank 2 or more of a graph."""
    for node in graph.nodes.values():
        function = node.config.get("function")
        if not isinstance(function, str) or not (node.is_a("TFOpLambda") or is_own(node.entry, OperatorCall)):
            continue
        if function not in _NOT_WEIGHTS and function.partition(".")[0] not in _NOT_WEIGHTS:
            yield from ((node, name, shape) for name, shape in _constants(graph, node))


def layers_of_constants(graph: ModelGraph, *, partly: bool = False) -> frozenset[str]:
    """Return the paths of the layers that compute with constants only; converters compute their outputs once and for all.

    Args:
        graph: the model.
        partly: layers too that read such an output beside others: some of their weights may be multiplied out. Default False.
    """
    if not any(_is_value(node) for node in graph.nodes.values()):
        return frozenset()
    reached = reached_from_inputs(graph, lambda node: not _is_value(node))
    if partly:
        return frozenset(node.ref.layer for node in graph.nodes.values() if not reached.issuperset(node.inputs))
    varying = {node.ref.layer for node in graph.nodes.values() if not reached.isdisjoint(node.inputs)}
    return frozenset(node.ref.layer for node in graph.nodes.values() if node.inputs) - varying


def _is_value(node: GraphNode) -> bool:
    return is_own(node.entry, Constant, Parameter)


def _constants(graph: ModelGraph, node: GraphNode) -> Iterator[tuple[str, tuple[int, ...]]]:
    for position, tensor in enumerate(node.inputs):
        producer = graph.producer(tensor)
        shape = _shape(producer.config["value"]) if _is_value(producer) else None
        if shape is not None:
            yield f"argument {position}", shape
    for name, value in node.keywords.items():
        shape = _shape(value)
        if shape is not None:
            yield name, shape


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of an array of floating point numbers of rank 2 or more, None for anything else."""
    if not isinstance(value, (list, tuple, np.ndarray)):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # of rows of different lengths
        return None
    return array.shape if array.ndim >= 2 and array.dtype.kind in "fV" else None  # V: bfloat16
