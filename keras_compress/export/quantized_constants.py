"""Quantized constants of a frozen graph as integers.

Converters compute ``FakeQuant…(constant)`` at once and keep the result in floating point. Here the constants are taken
out of the graph before that can happen. All constants go this way into ONNX files; into TensorFlow Lite files only those
that its converter does not store as integers by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_editing import node_name, readers_of
from keras_compress.export.graph_function import graph_function
from keras_compress.numerics import number_of_steps
from keras_compress.safe_mode import called_functions, refuse_programs_in_graph

__all__ = [
    "FAKE_QUANTIZERS",
    "IntegerConstant",
    "cut_out_constants",
    "depend_on_inputs",
    "dequantized",
    "evaluated",
    "grid",
]

FAKE_QUANTIZERS = ("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel")


@dataclass(frozen=True)
class IntegerConstant:
    """A weight as integers, with the channel that each of them belongs to.

    Attributes:
        name: of the tensor in the graph.
        values: int8, or uint8 where the zero point is not 0.
        channels: index into ``scale`` for every value, in the shape of ``values``.
        scale: float32, one per channel.
        zero_point: int32, one per channel.
    """

    name: str
    values: np.ndarray
    channels: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray

    def axis(self) -> int | None:
        """Return the axis of the channels; None for one channel.

        Raises:
            ValueError: they are on several axes.
        """
        if self.scale.size == 1:
            return None
        for axis, size in enumerate(self.channels.shape):
            if size == self.scale.size:
                shape = [size if other == axis else 1 for other in range(self.channels.ndim)]
                if np.array_equal(self.channels, np.broadcast_to(np.arange(size).reshape(shape), self.channels.shape)):
                    return axis
        raise ValueError(f"The channels of '{self.name}' are on several axes.")

    def has_axis(self) -> bool:
        """Whether the channels are on one axis, or there is one channel."""
        try:
            self.axis()
        except ValueError:
            return False
        return True

    def moved(self, move: Callable[[np.ndarray], np.ndarray]) -> IntegerConstant:
        """Return the constant with its numbers moved to other places."""
        return replace(self, values=move(self.values), channels=move(self.channels))


def cut_out_constants(graph_def: tf.compat.v1.GraphDef) -> list[IntegerConstant]:
    """Replace every quantized constant of a frozen graph by an input of the same name, in place; return the integers."""
    computed = depend_on_inputs(graph_def)
    found = [
        node
        for node in graph_def.node
        if node.op in FAKE_QUANTIZERS and not any(node_name(reference) in computed for reference in node.input)
    ]
    arrays = iter(evaluated(graph_def, [node_name(reference) for node in found for reference in node.input]))
    constants = []
    for node, values, low, high in zip(found, arrays, arrays, arrays, strict=True):
        constants.append(_integers(node, values, low, high))
        node.op = "Placeholder"
        del node.input[:]
        node.attr.clear()
        node.attr["dtype"].type = tf.float32.as_datatype_enum
        node.attr["shape"].shape.CopyFrom(tf.TensorShape(values.shape).as_proto())
    return constants


def _integers(node: Any, values: np.ndarray, low: np.ndarray, high: np.ndarray) -> IntegerConstant:
    bits, narrow = node.attr["num_bits"].i, node.attr["narrow_range"].b
    scale, zero_point, steps = grid(low, high, bits, narrow_range=narrow)
    integers = np.clip(np.round(values / scale) + zero_point, 0, steps).astype(np.int32)
    scale, zero_point = scale.reshape(-1), zero_point.reshape(-1)
    channels = np.broadcast_to(np.arange(scale.size), values.shape)
    middle = 2 ** (bits - 1) - (1 if narrow else 0)
    if np.all(zero_point == middle):
        return IntegerConstant(node.name, (integers - middle).astype(np.int8), channels, scale, zero_point * 0)
    return IntegerConstant(node.name, integers.astype(np.uint8), channels, scale, zero_point)


def grid(low: np.ndarray, high: np.ndarray, bits: int, *, narrow_range: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Return scale (float32), zero point (int32) and number of steps of a range that ends on its grid.

    Args:
        low, high: the ends of the range, one per channel or single numbers.
        bits: of the grid.
        narrow_range: whether it leaves out the most negative level.
    """
    steps = number_of_steps(bits, narrow_range=narrow_range)
    scale = ((high - low) / np.float32(steps)).astype(np.float32)
    return scale, np.round(-low / scale).astype(np.int32), steps


def depend_on_inputs(graph_def: tf.compat.v1.GraphDef) -> set[str]:
    """Return the nodes whose values are not known before the graph runs."""
    readers = readers_of(graph_def)
    reached = [node.name for node in graph_def.node if node.op == "Placeholder"]
    seen = set(reached)
    for name in reached:
        fresh = [reader.name for reader in readers.get(name, ()) if reader.name not in seen]
        seen.update(fresh)
        reached += fresh
    return seen


def evaluated(graph_def: tf.compat.v1.GraphDef, names: Sequence[str]) -> list[np.ndarray]:
    """Return what nodes make that depend on no input."""
    nodes = {node.name: node for node in graph_def.node}
    known = {name: tf.make_ndarray(nodes[name].attr["value"].tensor) for name in nodes if nodes[name].op == "Const"}
    missing = [name for name in names if name not in known]
    if missing:
        part = _part(graph_def, missing)
        refuse_programs_in_graph(part, "What the constants of the file are computed by")
        computed = graph_function(part, [], missing)()
        known.update({name: tensor.numpy() for name, tensor in zip(missing, computed, strict=True)})
    return [known[name] for name in names]


def _part(graph_def: tf.compat.v1.GraphDef, names: Sequence[str]) -> tf.compat.v1.GraphDef:
    """Return the nodes of a graph that others depend on, with the functions that they call."""
    nodes = {node.name: node for node in graph_def.node}
    needed: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed[name] = None
            waiting += [node_name(reference) for reference in nodes[name].input]
    part = tf.compat.v1.GraphDef(node=[nodes[name] for name in needed], versions=graph_def.versions)
    called = called_functions(part.node, {function.signature.name: function for function in graph_def.library.function})
    part.library.function.extend(
        function for function in graph_def.library.function if function.signature.name in called
    )
    return part


def dequantized(constant: IntegerConstant) -> np.ndarray:
    """Return the dequantized float32 numbers."""
    integers = constant.values.astype(np.int32) - constant.zero_point[constant.channels]
    return (constant.scale[constant.channels] * integers).astype(np.float32)
