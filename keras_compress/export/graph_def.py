"""TensorFlow graphs: the constants that may be weights, what computes with them, and which nodes an output needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_compress.export.dataflow import Dataflow
from keras_compress.export.format import StoredWeight
from keras_compress.export.graph_editing import node_name, remove_nodes
from keras_compress.export.quantized_constants import FAKE_QUANTIZERS, cut_out_constants, dequantized

__all__ = ["MOVES", "keep_needed", "stored_in_graph"]

MOVES = {
    *("Reshape", "Transpose", "Identity", "Squeeze", "ExpandDims", "MaxPool", "Pad", "PadV2", "MirrorPad", "ConcatV2"),
    *("Pack", "Unpack", "StridedSlice", "Slice", "Split", "SplitV", "Tile", "GatherV2", "ResizeNearestNeighbor"),
    *(
        "SpaceToBatchND",
        "BatchToSpaceND",
        "DepthToSpace",
        "SpaceToDepth",
        "ReverseV2",
        "BroadcastTo",
        "Max",
        "MaxPool3D",
    ),
}
_COMPUTES = {
    *("Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "Conv3DBackpropInputV2"),
    *("MatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"),
}


def stored_in_graph(graph_def: tf.compat.v1.GraphDef) -> list[StoredWeight]:
    """Return the constants of a graph; those behind a fake quantizer as the numbers behind it."""
    flow = Dataflow(
        {node.name: node.op for node in graph_def.node},
        {node.name: [node_name(name) for name in node.input if not name.startswith("^")] for node in graph_def.node},
        MOVES,
        _COMPUTES,
        FAKE_QUANTIZERS,
        data_inputs={"Conv2DBackpropInput": 2, "Conv3DBackpropInputV2": 2},
    )
    rest = tf.compat.v1.GraphDef()
    rest.CopyFrom(graph_def)
    for node in rest.node:  # control inputs can be dropped: the graph has no side effects
        data = [name for name in node.input if not name.startswith("^")]
        del node.input[:]
        node.input.extend(data)
    found = []
    for constant in cut_out_constants(rest):
        values = dequantized(constant)
        reads = flow.input_quantized(constant.name)
        found.append(StoredWeight(constant.name, values, "float32", 4 * values.size, True, reads))
    for node in rest.node:
        if node.op == "Const" and not all(flow.kinds[reader] in FAKE_QUANTIZERS for reader in flow.readers(node.name)):
            values = tf.make_ndarray(node.attr["value"].tensor)
            if values.dtype == np.float32 and values.ndim:
                reads = flow.input_quantized(node.name)
                found.append(StoredWeight(node.name, values, "float32", 4 * values.size, False, reads))
    return found


def keep_needed(graph_def: tf.compat.v1.GraphDef, names: Sequence[str]) -> None:
    """Remove, in place, unreachable nodes and colocation constraints."""
    reads = {node.name: [node_name(reference) for reference in node.input] for node in graph_def.node}
    needed: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending += reads[name]
    remove_nodes(graph_def.node, reads.keys() - needed)
    for node in graph_def.node:
        if "_class" in node.attr:
            del node.attr["_class"]
