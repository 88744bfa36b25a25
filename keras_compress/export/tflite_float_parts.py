"""FloatParts: values of a TensorFlow Lite file that are read as floats, although they have a grid.

A sum with a zero that the converter cannot know before the graph runs has no grid, whatever it adds up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_editing import add_constant, add_node, readers_of
from keras_compress.export.tflite_grids import AVERAGES, JOINS, KEEPS, QUANTIZER, Grids, Range, is_float
from keras_compress.export.tflite_weights import FLOAT_ZERO

__all__ = ["FloatParts", "compute_in_float"]

_SCALAR_ZERO = "zero/scalar"
#: An average pooling in integers is off by half a step of what it reads. Read by a quantizer of half its range that is one step.
_NARROW = 0.5
_TYPES = {"T": tf.float32.as_datatype_enum}


class FloatParts:
    """Adds sums with zero to a graph, at most one for each tensor.

    Args:
        graph_def: the graph, with :data:`~keras_compress.export.tflite_weights.FLOAT_ZERO`; it is changed in place.
        nodes: its nodes by name; what is added is added here too.
    """

    def __init__(self, graph_def: tf.compat.v1.GraphDef, nodes: dict[str, Any]):
        self.graph_def = graph_def
        self.nodes = nodes

    def of(self, reference: str) -> str:
        """Return the reference of a tensor as floats without a grid, of the same shape."""
        name = f"{reference.replace(':', '_')}/apart"
        if name not in self.nodes:
            self._add("AddV2", name, [reference, self._scalar_zero()], **_TYPES)
        return name

    def stand_behind(self, node: Any, readers: list[Any]) -> None:
        """Let those that read the first output of a node read it as floats without a grid."""
        for reader in readers:
            for index, reference in enumerate(reader.input):
                if reference in (node.name, f"{node.name}:0"):
                    reader.input[index] = self.of(reference)

    def _scalar_zero(self) -> str:
        if _SCALAR_ZERO not in self.nodes:
            shape = add_constant(self.graph_def, f"{_SCALAR_ZERO}/shape", np.zeros(0, np.int32))
            types = {**_TYPES, "Tshape": tf.int32.as_datatype_enum}
            self._add("Reshape", _SCALAR_ZERO, [FLOAT_ZERO, shape], **types)
        return _SCALAR_ZERO

    def _add(self, op: str, name: str, inputs: list[str], **types: int) -> None:
        add_node(self.graph_def, op, name, inputs, **types)
        self.nodes[name] = self.graph_def.node[-1]


def compute_in_float(graph_def: tf.compat.v1.GraphDef) -> None:
    """Let averages and reversals compute with floats, in place, that would be wrong on the grid of what they read.

    An average lies in a narrower range than what it is made of, and the converter gives it the grid of that, unless all that
    reads it are quantizers. A pooling has one grid for what it reads and makes, so it is cut off by a quantizer behind it
    too. A reversal may write a grid that it does not read, and the kernel does not turn one into the other. The converter
    makes a join of a roll, and refuses it behind an activation function whose outputs have a fixed range. Nothing is done
    without :data:`~keras_compress.export.tflite_weights.FLOAT_ZERO` in the graph.
    """
    nodes = {node.name: node for node in graph_def.node}
    if FLOAT_ZERO not in nodes:
        return
    readers = readers_of(graph_def)
    grids = Grids(graph_def, nodes)
    parts = FloatParts(graph_def, nodes)
    for node in list(graph_def.node):
        if node.op in _CHECKED and is_float(node):
            source, ends = node.input[0], _quantizers(readers, node)
            before, behind = _CHECKED[node.op](
                grids.of(source), None if ends is None else list(map(grids.range_of, ends))
            )
            if before and grids.may_have(source):
                node.input[0] = parts.of(source)
            if behind:
                parts.stand_behind(node, readers[node.name])


def _around_mean(grid: Range | None, ends: list[Range] | None) -> tuple[bool, bool]:
    """Return whether a mean is to be parted from what it reads, and from what reads it.

    Args:
        grid: of what it reads.
        ends: ranges of the quantizers that read it; None if something else does, too.
    """
    return ends is None, False


def _around_pooling(grid: Range | None, ends: list[Range] | None) -> tuple[bool, bool]:
    return (True, True) if grid is None or ends is None or _is_narrow(grid, ends) else (False, False)


def _around_resizing(grid: Range | None, ends: list[Range] | None) -> tuple[bool, bool]:
    return (False, False) if ends is None else _around_pooling(grid, ends)


def _around_reversal(grid: Range | None, ends: list[Range] | None) -> tuple[bool, bool]:
    return ends is not None and any(end != grid for end in ends), False


_CHECKED = {
    "Mean": _around_mean,
    "AvgPool": _around_pooling,
    "ResizeBilinear": _around_resizing,
    "ReverseV2": _around_reversal,
}


def _is_narrow(grid: Range, ends: list[Range]) -> bool:
    """Whether one of the ranges is much narrower than a grid."""
    return min(high - low for low, high in ends) < _NARROW * (grid[1] - grid[0])


def _quantizers(readers: dict[str, list[Any]], node: Any) -> list[Any] | None:
    """Return the quantizers that read what a node makes, behind moves and joins; None if something else reads it too."""
    found, waiting = [], [node]
    for current in waiting:
        if not readers[current.name]:
            return None  # it is an output
        for reader in readers[current.name]:
            if reader.op == QUANTIZER:
                found.append(reader)
            elif (reader.op in KEEPS or reader.op in JOINS) and reader.op not in AVERAGES:
                waiting += [] if reader in waiting else [reader]
            else:
                return None
    return found
