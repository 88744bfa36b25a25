"""What a graph computes from constants and shapes, in NumPy: small integers, for which no runtime is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_editing import GraphEditor, node_name

__all__ = ["computed_integers"]


def computed_integers(editor: GraphEditor, name: str, known: Mapping[str, np.ndarray] | None = None) -> Any:
    """Return the integers that a node makes as an array; None if they depend on more than constants and what is known.

    Args:
        editor: the graph.
        name: of the node.
        known: the values of other nodes by name. Default: none.
    """
    values = dict(known or {})
    stack = [name]
    while stack:
        node = editor.nodes[stack[-1]]
        sources = [node_name(reference) for reference in node.input if not reference.startswith("^")]
        missing = [source for source in sources if source not in values]
        if node.name in values:
            stack.pop()
        elif node.op == "Const":
            values[node.name] = tf.make_ndarray(node.attr["value"].tensor)
        elif node.op not in _ARITHMETIC or len(stack) > len(editor.nodes):
            return None
        elif missing:
            stack.append(missing[0])
        else:
            values[node.name] = _ARITHMETIC[node.op](node, *(values[source] for source in sources))
            if values[node.name] is None:
                return None
    return values[name]


def _gather(node: Any, values: np.ndarray, indices: np.ndarray, axis: np.ndarray) -> np.ndarray:
    return np.take(values, indices, int(axis))


def _product(node: Any, values: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return np.prod(values, tuple(axes.reshape(-1).tolist()), keepdims=node.attr["keep_dims"].b)


def _slice(node: Any, values: np.ndarray, begin: np.ndarray, end: np.ndarray, step: np.ndarray) -> np.ndarray | None:
    """Return a slice of numbers; None for what sizes are not sliced by."""
    if values.ndim < begin.size or node.attr["ellipsis_mask"].i or node.attr["new_axis_mask"].i:
        return None
    index: list[int | slice] = []
    for axis, (first, last, stride) in enumerate(zip(begin.tolist(), end.tolist(), step.tolist(), strict=True)):
        begins, ends, shrinks = (node.attr[key].i >> axis & 1 for key in ("begin_mask", "end_mask", "shrink_axis_mask"))
        index.append(first if shrinks else slice(None if begins else first, None if ends else last, stride))
    return values[tuple(index)]


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "Identity": lambda node, values: values,
    "Cast": lambda node, values: values,
    "ConcatV2": lambda node, *parts: np.concatenate(parts[:-1], int(parts[-1])),
    "Pack": lambda node, *parts: np.stack(parts, node.attr["axis"].i),
    "ExpandDims": lambda node, values, axis: np.expand_dims(values, int(axis)),
    "GatherV2": _gather,
    "Prod": _product,
    "StridedSlice": _slice,
    "Mul": lambda node, one, other: one * other,
    "AddV2": lambda node, one, other: one + other,
    "Sub": lambda node, one, other: one - other,
    "Neg": lambda node, values: -values,
    "FloorDiv": lambda node, one, other: one // other,
    "FloorMod": lambda node, one, other: one % other,
    "Equal": lambda node, one, other: np.equal(one, other),
    "LessEqual": lambda node, one, other: np.less_equal(one, other),
    "Less": lambda node, one, other: np.less(one, other),
    "LogicalAnd": lambda node, one, other: np.logical_and(one, other),
    "LogicalNot": lambda node, values: np.logical_not(values),
}
