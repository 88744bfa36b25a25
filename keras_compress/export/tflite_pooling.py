"""Average pooling of quantized values, arranged for TensorFlow Lite's converter.

In TensorFlow Lite an average pooling reads and writes one grid. Where it reads what a maximum pooling, a padding or a
concatenation moved there, the converter does not see that grid, and leaves every convolution of the same values in
floating point. So the grid is repeated in front of the pooling, where it changes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_def import MOVES
from keras_compress.export.graph_editing import node_name
from keras_compress.export.graph_function import graph_function
from keras_compress.export.tflite_grids import moved_input

__all__ = ["repeat_grids_before_pooling"]

_POOLING = ("AvgPool", "AvgPool3D")
#: Which inputs are values, of operations that take several.
_MANY = {"ConcatV2": lambda inputs: inputs[:-1], "Pack": list}
_QUANTIZER = "FakeQuantWithMinMaxVars"


def repeat_grids_before_pooling(graph_def: tf.compat.v1.GraphDef) -> None:
    """Put a quantizer in front of every average pooling of values that were moved from one grid, in place."""
    nodes = {node.name: node for node in graph_def.node}
    found = [(node, _quantizers_behind(nodes, node)) for node in graph_def.node if node.op in _POOLING]
    moved = [
        (node, quantizers)
        for node, quantizers in found
        if quantizers and nodes[node_name(node.input[0])] not in quantizers
    ]
    ends = _ends(graph_def, [quantizer for _, quantizers in moved for quantizer in quantizers])
    for pooling, quantizers in moved:
        first, *others = quantizers
        if all(_grid(other, ends) == _grid(first, ends) for other in others):
            again = graph_def.node.add()
            again.CopyFrom(first)
            again.name, again.input[0] = f"{pooling.name}/grid", pooling.input[0]
            pooling.input[0] = again.name


def _quantizers_behind(nodes: dict[str, Any], pooling: Any) -> list[Any]:
    """Return the quantizers of all values that a pooling reads; none if some of them are not quantized."""
    found, waiting, seen = [], [node_name(pooling.input[0])], set()
    while waiting:
        node = nodes[waiting.pop()]
        if node.name in seen:
            continue
        seen.add(node.name)
        if node.op == _QUANTIZER:
            found.append(node)
        elif node.op in MOVES:
            waiting += map(node_name, _MANY[node.op](node.input) if node.op in _MANY else [moved_input(node)])
        else:
            return []
    return found


def _ends(graph_def: Any, quantizers: list[Any]) -> dict[str, np.ndarray]:
    """Return the numbers of the tensors that are ends of the ranges of quantizers."""
    names = sorted({node_name(end) for quantizer in quantizers for end in quantizer.input[1:3]})
    if not names:
        return {}
    return dict(zip(names, (value.numpy() for value in graph_function(graph_def, [], names)()), strict=True))


def _grid(quantizer: Any, ends: dict[str, np.ndarray]) -> tuple[float, float, int, bool]:
    low, high = (float(ends[node_name(end)]) for end in quantizer.input[1:3])
    return low, high, quantizer.attr["num_bits"].i, quantizer.attr["narrow_range"].b
