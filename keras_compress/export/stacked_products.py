"""Matrix products of stacks of vectors in graphs: one operation, without reshapes around it.

TensorFlow computes a dense layer on ``(batch, positions, features)`` as a product of matrices between two reshapes.
OpenVINO moves scales per channel through the second one and, where the batch is open, sometimes to the wrong axis.
Without the reshapes there is nothing to move through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_editing import GraphEditor, node_name
from keras_compress.export.quantized_constants import FAKE_QUANTIZERS
from keras_compress.export.shape_arithmetic import computed_integers

__all__ = ["join_reshaped_products"]

#: Operations on each number by itself, or on the last axis, that may stand between the product and a reshape.
_ALONG_LAST_AXIS = {
    *("BiasAdd", "Relu", "Relu6", "Elu", "Selu", "LeakyRelu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Softmax"),
    *("Identity", "Exp", "Erf", *FAKE_QUANTIZERS),
}
#: The same, if the other operand is a constant of one axis at most.
_WITH_CONSTANT = {"Add", "AddV2", "Mul", "Sub", "Maximum", "Minimum"}
#: Sizes put in the place of open ones, to see what a computed shape is made of.
_PROBES = ((2, 3, 5, 7, 11), (13, 17, 19, 23, 29))


def join_reshaped_products(graph_def: tf.compat.v1.GraphDef, shape_of: Callable[[str], tf.TensorShape]) -> None:
    """Turn ``reshape(matmul(reshape(x, [-1, c]), w), […, n])`` into ``matmul(x, w)``, in place.

    Only where both reshapes together leave the axes in front of the last one as they are, whatever the open sizes.

    Args:
        graph_def: the graph.
        shape_of: returns the shape of what a reference of a node reads; unknown sizes are None.
    """
    editor = GraphEditor(graph_def)
    readers = editor.readers()
    for product in [node for node in graph_def.node if node.op == "MatMul"]:
        if product.attr["transpose_a"].b or product.attr["transpose_b"].b:
            continue
        before = _before(editor, readers, product)
        behind = _behind(editor, readers, product)
        if before is None or behind is None:
            continue
        flat, reader = before
        source = _without_permutation(editor, flat)
        weight = shape_of(product.input[1])
        shape = shape_of(source)
        if weight.rank != 2 or not _keeps_positions(editor, behind[-1], source, shape, weight):
            continue
        reader.input[0] = source
        product.op = "BatchMatMulV2"
        kind = product.attr["T"].type
        product.attr.clear()
        product.attr["T"].type = kind
        editor.redirect(behind[-1].name, behind[-2].name)


def _before(editor: GraphEditor, readers: dict[str, list[Any]], product: Any) -> tuple[Any, Any] | None:
    """Return the reshape in front of a product, and the node that reads it."""
    reader, node = product, editor.nodes[node_name(product.input[0])]
    while _keeps_axes(editor, node) and len(readers[node.name]) == 1:
        reader, node = node, editor.nodes[node_name(node.input[0])]
    return (node, reader) if node.op == "Reshape" else None


def _behind(editor: GraphEditor, readers: dict[str, list[Any]], product: Any) -> list[Any] | None:
    """Return the nodes from a product to the reshape behind it, none of which has another reader."""
    chain = [product]
    while len(readers[chain[-1].name]) == 1:
        node = readers[chain[-1].name][0]
        if node.op == "Reshape" and node_name(node.input[0]) == chain[-1].name:
            return [*chain, node]
        if not _keeps_axes(editor, node):
            return None
        chain.append(node)
    return None


def _keeps_axes(editor: GraphEditor, node: Any) -> bool:
    """Whether a node computes the same whatever the axes in front of the last one are."""
    if node.op in _WITH_CONSTANT:
        constants = [editor.constant(node, index) for index in (0, 1)]
        return any(values is not None and values.ndim <= 1 for values in constants)
    return node.op in _ALONG_LAST_AXIS


def _without_permutation(editor: GraphEditor, reshape: Any) -> str:
    """Return what a reshape reads, looked for in front of a transposition that changes nothing."""
    source = editor.nodes[node_name(reshape.input[0])]
    if source.op == "Transpose":
        order = computed_integers(editor, node_name(source.input[1]))
        if order is not None and np.array_equal(order, np.arange(order.size)):
            return source.input[0]
    return reshape.input[0]


def _keeps_positions(
    editor: GraphEditor, reshape: Any, source: str, shape: tf.TensorShape, weight: tf.TensorShape
) -> bool:
    """Whether a reshape gives the axes of ``source`` back, all but the last one."""
    inputs, units = weight.as_list()
    if shape.rank is None or shape.rank < 3 or shape[-1] != inputs or units is None:
        return False
    open_sizes = [index for index, size in enumerate(shape) if size is None]
    if len(open_sizes) > len(_PROBES[0]):
        return False
    for probe in _PROBES:
        sizes = shape.as_list()
        for index, size in zip(open_sizes, probe, strict=False):
            sizes[index] = size
        wanted = [*sizes[:-1], units]
        computed = _computed_shape(editor, node_name(reshape.input[1]), source, sizes)
        if computed is None or len(computed) != len(wanted):
            return False
        if -1 in computed:
            rest = -int(np.prod(computed))
            computed[computed.index(-1)] = int(np.prod(wanted)) // max(rest, 1)
        if computed != wanted:
            return False
    return True


def _computed_shape(editor: GraphEditor, name: str, source: str, sizes: Sequence[int]) -> list[int] | None:
    """Return a shape that a graph computes from that of ``source``, None if it depends on anything else."""
    known = {
        node.name: np.array(sizes)
        for node in editor.nodes.values()
        if node.op == "Shape" and _same_tensor(editor, node.input[0], source)
    }
    computed = computed_integers(editor, name, known)
    return None if computed is None else [int(size) for size in computed.reshape(-1)]


def _same_tensor(editor: GraphEditor, one: str, other: str) -> bool:
    """Whether two references lead to one tensor, behind nodes that leave the shape as it is."""
    names = []
    for reference in (one, other):
        node = editor.nodes[node_name(reference)]
        while node.op in _ALONG_LAST_AXIS:
            node = editor.nodes[node_name(node.input[0])]
        names.append(node.name)
    return names[0] == names[1]
