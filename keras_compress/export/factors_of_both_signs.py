"""Multiplications by constants of both signs in graphs: magnitudes, and a choice of the sign.

OpenVINO joins a multiplication and the quantizer behind it. Where factors of one tensor have both signs and the batch is
open, it takes the factor of the first channel for all of them. A choice is not joined, and gives the same numbers to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_editing import GraphEditor, add_constant, add_node, node_name
from keras_compress.export.quantized_constants import depend_on_inputs, evaluated

__all__ = ["write_signs_apart"]

_SCALES = ("Mul", "RealDiv", "Div")
#: What runtimes fold a factor into: products, with or without a bias.
_PRODUCTS = ("MatMul", "BatchMatMulV2", "Conv2D", "Conv3D", "DepthwiseConv2dNative", "BiasAdd")
_SHIFTS = ("Add", "AddV2", "Sub", "BiasAdd")


def write_signs_apart(graph_def: tf.compat.v1.GraphDef) -> None:
    """Turn ``x * c`` into ``where(c < 0, -(x * |c|), x * |c|)`` where c has both signs, in place; divisions the same.

    Directly behind a product the multiplication stays, because runtimes make it part of the weights; in front of the sum with
    one constant per factor too, as a batch normalization has it: they quantize the two together, and rightly.

    Args:
        graph_def: a frozen graph.
    """
    editor = GraphEditor(graph_def)
    computed = depend_on_inputs(graph_def)
    readers = editor.readers()
    found = []
    for node in [node for node in graph_def.node if node.op in _SCALES and node.attr["T"].type == tf.float32]:
        index = _constant_operand(node, computed)
        if index is not None and editor.producer(node, 1 - index).op not in _PRODUCTS:
            shifts = [_shift(reader, node.name, computed) for reader in readers.get(node.name, [])]
            found.append((node, index, shifts))
    names = [name for node, index, shifts in found for name in (node_name(node.input[index]), *filter(None, shifts))]
    arrays = dict(zip(names, evaluated(graph_def, names), strict=True))
    for node, index, shifts in found:
        factor = arrays[node_name(node.input[index])]
        both = factor.min(initial=0) < 0 < factor.max(initial=0)
        if both and not (shifts and all(name and _one_per_factor(arrays[name], factor) for name in shifts)):
            _choose(editor, node, index, factor)


def _constant_operand(node: Any, computed: set[str]) -> int | None:
    """Return which operand of a multiplication or division is a constant factor or divisor, None if there is none."""
    if node_name(node.input[0]) not in computed and node_name(node.input[1]) not in computed:
        return None
    for index in (1,) if node.op != "Mul" else (0, 1):
        if node_name(node.input[index]) not in computed:
            return index
    return None


def _shift(reader: Any, name: str, computed: set[str]) -> str:
    """Return the name of the constant that a node adds to what the node ``name`` makes, empty if it does anything else."""
    others = [node_name(reference) for reference in reader.input if node_name(reference) != name]
    return others[0] if reader.op in _SHIFTS and len(others) == 1 and others[0] not in computed else ""


def _one_per_factor(shift: np.ndarray, factor: np.ndarray) -> bool:
    """Whether a sum with a constant is there at all, which one with zeros is not to a runtime, and of the shape of the factors."""
    return shift.size == factor.size and bool(np.any(shift))


def _choose(editor: GraphEditor, node: Any, index: int, factor: np.ndarray) -> None:
    """Replace a multiplication by one by magnitudes and a choice between the result and its negative; it gets the name."""
    graph_def, name = editor.graph_def, node.name
    scaled = editor.add(_copy(node, f"{name}/magnitude"))
    scaled.input[index] = add_constant(graph_def, f"{name}/magnitudes", np.abs(factor))
    negative = add_node(graph_def, "Neg", f"{name}/negative", [scaled.name], T=tf.float32.as_datatype_enum)
    choice = add_constant(graph_def, f"{name}/is_negative", factor < 0)
    control = [reference for reference in node.input if reference.startswith("^")]
    node.op = "SelectV2"
    node.input[:] = [choice, negative, scaled.name, *control]


def _copy(node: Any, name: str) -> Any:
    copy = tf.compat.v1.NodeDef()
    copy.CopyFrom(node)
    copy.name = name
    return copy
