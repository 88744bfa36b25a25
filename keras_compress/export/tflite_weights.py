"""Quantized weights in a frozen graph, arranged for TensorFlow Lite's converter.

The converter itself computes the int8 numbers of convolutions and dense layers, from the quantizer in front of them;
but it moves the channels of a quantized constant together with its numbers only in convolutions. So a quantizer is put
directly in front of each convolution that reads it; one channel is quantized as a whole. Where something else reads
it, as in recurrent layers, plain integers are stored, and the graph turns them into floats. The converter would carry
that out and store the result, so the integers pass a slice whose start, always 0, depends on an input of the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_editing import add_constant, add_node, node_name, readers_of
from keras_compress.export.quantized_constants import FAKE_QUANTIZERS, IntegerConstant, cut_out_constants, dequantized

__all__ = ["FLOAT_ZERO", "arrange_weights"]

#: Node that :func:`arrange_weights` adds: zero, of shape ``(1,)``, which the converter cannot know before the graph runs.
FLOAT_ZERO = "zero/at_least"

_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")
_TRANSPOSED = "Conv2DBackpropInput"
#: The axes of the output channels of kernels.
_AXES = {"Conv2D": -1, _TRANSPOSED: -2}
#: What reads integers of one scale.
_READS_ONE_SCALE = (*_CONVOLUTIONS, _TRANSPOSED, "MatMul", "Einsum", "GatherV2")
_MOVES = ("Identity", "Squeeze", "Reshape", "Transpose", "ExpandDims")
_INT32, _FLOAT32 = (kind.as_datatype_enum for kind in (tf.int32, tf.float32))


def arrange_weights(graph_def: tf.compat.v1.GraphDef, in_float: Collection[str] | None = None) -> list[IntegerConstant]:
    """Rewrite the quantizers of constants with a scale per channel, in place.

    Args:
        graph_def: the graph.
        in_float: names of constants that transposed convolutions are to compute with in floating point. Default None: all of them,
            and what the graph computes stays.

    Returns:
        The other kernels of transposed convolutions. They have one scale in the graph now, until
        :func:`~keras_compress.export.tflite_transposed.with_channel_scales`.
    """
    if not any(node.op in FAKE_QUANTIZERS for node in graph_def.node):
        return []
    scratch = tf.compat.v1.GraphDef()
    scratch.CopyFrom(graph_def)
    constants = cut_out_constants(scratch)
    nodes = {node.name: node for node in graph_def.node}
    readers = readers_of(graph_def)
    zero = _add_zero(graph_def)
    _keep_in_float(graph_def, readers, constants)
    copies: Counter[tuple[bytes, bytes]] = Counter()
    transposed: list[IntegerConstant] = []
    for constant in constants:
        if constant.scale.size == 1:
            if _reads_one_scale(readers, constant.name):
                _quantize_as_a_whole(graph_def, nodes[constant.name], constant)
            else:
                _store_as_integers(graph_def, nodes[constant.name], constant, zero)
            continue
        content = constant.values.tobytes(), constant.scale.tobytes()
        direct = [node.op for node in readers[constant.name]]
        if not copies[content] and len(direct) == 1 and direct[0] in _CONVOLUTIONS:
            copies[content] += 1
            continue
        ends = _behind_moves(nodes, readers, constant)
        if ends is None or (any(node.op == _TRANSPOSED for node, _ in ends) and _is_in(constant.name, in_float)):
            _store_as_integers(graph_def, nodes[constant.name], constant, zero)
            continue
        for number, (node, moved) in enumerate(ends):
            apart = replace(moved, scale=_next_floats(moved.scale, copies[content]))
            copies[content] += 1
            name = f"{constant.name}/moved_{number}"
            if node.op == _TRANSPOSED:
                node.input[1] = _add_whole_quantizer(graph_def, name, apart)
                transposed.append(moved)
            else:
                node.input[1] = _add_quantizer(graph_def, name, apart, node.op)
    return transposed


def _is_in(name: str, names: Collection[str] | None) -> bool:
    return names is None or name in names


def _next_floats(array: np.ndarray, steps: int) -> np.ndarray:
    """Return the numbers some steps of the last bit above those of an array.

    The converter makes one of two equal quantizers. One that several convolutions read, as those of a layer that is called
    twice, it carries out in floating point, and then chooses other scales for the result.
    """
    for _ in range(steps):
        array = np.nextafter(array, np.float32(np.inf), dtype=np.float32)
    return array


def _keep_in_float(graph_def: Any, readers: dict[str, list[Any]], constants: Sequence[IntegerConstant]) -> None:
    """Add zero to what convolutions and matrix products of unquantized weights make.

    The converter would quantize the weights of an operation by itself, unasked, that stands between two quantizers.
    """
    quantized, waiting = {constant.name for constant in constants}, [constant.name for constant in constants]
    for name in waiting:
        fresh = [node.name for node in readers[name] if node.op in _MOVES and node.name not in quantized]
        quantized.update(fresh)
        waiting += fresh
    for node in [node for node in graph_def.node if node.op in (*_CONVOLUTIONS, "MatMul")]:
        if any(node_name(reference) in quantized for reference in node.input):
            continue
        behind = readers[node.name]
        end = behind[0] if len(behind) == 1 and behind[0].op == "BiasAdd" else node
        name = add_node(graph_def, "AddV2", f"{end.name}/in_float", [end.name, FLOAT_ZERO], T=_FLOAT32)
        for reader in readers[end.name]:
            for index, reference in enumerate(reader.input):
                if node_name(reference) == end.name:
                    reader.input[index] = name


def _behind_moves(nodes: dict, readers: dict, constant: IntegerConstant) -> list[tuple[Any, IntegerConstant]] | None:
    """Return the convolutions that read a constant behind moves, with the constant as they read it; None if others do."""
    found, waiting = [], [(constant.name, constant)]
    for name, present in waiting:
        for node in readers[name]:
            index = [node_name(reference) for reference in node.input].index(name)
            if index == 1 and (node.op == "DepthwiseConv2dNative" or _is_kernel(node, present)):
                found.append((node, present))
                continue
            move = _move(nodes, node) if index == 0 else None
            if move is None:
                return None
            waiting.append((node.name, present.moved(move)))
    return found or None


def _is_kernel(node: Any, constant: IntegerConstant) -> bool:
    """Whether a node is a convolution that reads a constant in the layout of channels that it needs."""
    if node.op == _TRANSPOSED and constant.zero_point.any():
        return False
    return node.op in _AXES and constant.has_axis() and constant.axis() == constant.values.ndim + _AXES[node.op]


def _move(nodes: dict, node: Any) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return what an operation that only moves numbers does to an array; None for any other operation."""
    if node.op == "Identity":
        return lambda array: array
    if node.op == "Squeeze":
        axes = tuple(node.attr["squeeze_dims"].list.i) or None
        return lambda array: np.squeeze(array, axes)
    if node.op not in _MOVES:
        return None
    argument = nodes[node.input[1].partition(":")[0]]
    while argument.op == "Identity":
        argument = nodes[argument.input[0].partition(":")[0]]
    if argument.op != "Const":
        return None
    value = tf.make_ndarray(argument.attr["value"].tensor)
    functions: dict[str, Callable] = {
        "Reshape": lambda array: np.reshape(array, value),
        "Transpose": lambda array: np.transpose(array, value),
        "ExpandDims": lambda array: np.expand_dims(array, int(value)),
    }
    return functions[node.op]


def _add_quantizer(graph_def: Any, name: str, constant: IntegerConstant, op: str) -> str:
    """Add a constant behind a quantizer per channel of its last axis; return the name of what a convolution reads.

    The channels of a depthwise kernel are on two axes, which are joined in front of the quantizer and parted behind it.
    """
    shape = constant.values.shape
    depthwise = op == "DepthwiseConv2dNative"
    if depthwise:
        constant = constant.moved(lambda array: array.reshape(*shape[:-2], -1))
    low, high = _ends(constant)
    inputs = [
        add_constant(graph_def, f"{name}/{part}", array)
        for part, array in (
            ("values", dequantized(constant)),
            ("low", low * constant.scale),
            ("high", high * constant.scale),
        )
    ]
    node = graph_def.node.add(op="FakeQuantWithMinMaxVarsPerChannel", name=f"{name}/quantizer", input=inputs)
    _set_grid(node, constant)
    if depthwise:
        whole = add_constant(graph_def, f"{name}/shape", np.array(shape, np.int32))
        return add_node(graph_def, "Reshape", f"{name}/shaped", [node.name, whole], T=_FLOAT32, Tshape=_INT32)
    return node.name


def _add_whole_quantizer(graph_def: Any, name: str, constant: IntegerConstant) -> str:
    """Add a constant behind a quantizer of one scale for all of its numbers; return its name."""
    values = dequantized(constant)
    end = np.maximum(np.abs(values).max(), np.finfo(np.float32).tiny * 2**10)
    inputs = [
        add_constant(graph_def, f"{name}/{part}", array)
        for part, array in (("values", values), ("low", -end), ("high", end))
    ]
    node = graph_def.node.add(op="FakeQuantWithMinMaxVars", name=f"{name}/quantizer", input=inputs)
    node.attr["num_bits"].i, node.attr["narrow_range"].b = 8, True
    return node.name


def _reads_one_scale(readers: dict[str, list[Any]], name: str) -> bool:
    """Whether all that reads a constant, behind moves, can read integers of one scale in TensorFlow Lite."""
    waiting = [name]
    for current in waiting:
        moves = [node for node in readers[current] if node.op in _MOVES and node_name(node.input[0]) == current]
        waiting += [node.name for node in moves if node.name not in waiting]
        if any(node.op not in _READS_ONE_SCALE for node in readers[current] if node not in moves):
            return False
    return True


def _quantize_as_a_whole(graph_def: Any, node: Any, constant: IntegerConstant) -> None:
    """Turn the quantizer of a constant of one channel into one without channels.

    The converter moves such a constant like any other, and fails on a single scale for a whole axis.
    """
    if node.op != "FakeQuantWithMinMaxVarsPerChannel":
        return
    node.op = "FakeQuantWithMinMaxVars"
    for index, (part, end) in enumerate(zip(("low", "high"), _ends(constant), strict=True), 1):
        node.input[index] = add_constant(graph_def, f"{node.name}/whole_{part}", (end * constant.scale)[0])
    _set_grid(node, constant)


def _add_zero(graph_def: Any) -> str:
    """Add a tensor of shape ``(1,)`` and type int32 that is 0 whatever the input is; return its name."""
    source = next(node for node in graph_def.node if node.op == "Placeholder" and not _is_text(node))
    kind = source.attr["dtype"].type
    shape, begin, size = (
        add_constant(graph_def, f"zero/{n}", np.array([v], np.int32))
        for n, v in (("shape", -1), ("begin", 0), ("size", 1))
    )
    add_node(graph_def, "Reshape", "zero/flat", [source.name, shape], T=kind, Tshape=_INT32)
    add_node(graph_def, "Slice", "zero/first", ["zero/flat", begin, size], T=kind, Index=_INT32)
    add_node(graph_def, "Cast", "zero/float", ["zero/first"], SrcT=kind, DstT=_FLOAT32)
    limit = add_constant(graph_def, "zero/limit", np.zeros(1, np.float32))
    add_node(graph_def, "Minimum", "zero/at_most", ["zero/float", limit], T=_FLOAT32)
    add_node(graph_def, "Maximum", "zero/at_least", ["zero/at_most", limit], T=_FLOAT32)
    return add_node(graph_def, "Cast", "zero", ["zero/at_least"], SrcT=_FLOAT32, DstT=_INT32)


def _is_text(node: Any) -> bool:
    return node.attr["dtype"].type == tf.string.as_datatype_enum


def _store_as_integers(graph_def: Any, node: Any, constant: IntegerConstant, zero: str) -> None:
    """Turn the quantizer of a constant into plain integers and the operations that make floats of them."""
    prefix, values = f"{node.name}/stored", constant.values
    axis = constant.axis()
    shape = [-1 if position == axis else 1 for position in range(values.ndim)]
    flat = add_constant(graph_def, f"{prefix}/integers", values.reshape(-1))
    size = add_constant(graph_def, f"{prefix}/size", np.array([values.size], np.int32))
    kind = tf.as_dtype(values.dtype).as_datatype_enum
    add_node(graph_def, "Slice", f"{prefix}/all", [flat, zero, size], T=kind, Index=_INT32)
    add_node(graph_def, "Cast", f"{prefix}/float", [f"{prefix}/all"], SrcT=kind, DstT=_FLOAT32)
    whole = add_constant(graph_def, f"{prefix}/shape", np.array(values.shape, np.int32))
    last = add_node(graph_def, "Reshape", f"{prefix}/shaped", [f"{prefix}/float", whole], T=_FLOAT32, Tshape=_INT32)
    if constant.zero_point.any():
        offset = add_constant(graph_def, f"{prefix}/zero_point", constant.zero_point.reshape(shape).astype(np.float32))
        last = add_node(graph_def, "Sub", f"{prefix}/centered", [last, offset], T=_FLOAT32)
    scale = add_constant(graph_def, f"{prefix}/scale", constant.scale.reshape(shape))
    node.op = "Mul"
    del node.input[:]
    node.attr.clear()
    node.attr["T"].type = _FLOAT32
    node.input.extend([last, scale])


def _ends(constant: IntegerConstant) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest level of the container in steps from zero, per channel, float32."""
    if constant.values.dtype == np.int8:
        return np.full(constant.scale.shape, -127, np.float32), np.full(constant.scale.shape, 127, np.float32)
    return -constant.zero_point.astype(np.float32), 255 - constant.zero_point.astype(np.float32)


def _set_grid(node: Any, constant: IntegerConstant) -> None:
    node.attr["num_bits"].i = 8
    node.attr["narrow_range"].b = constant.values.dtype == np.int8
