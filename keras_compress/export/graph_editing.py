"""GraphEditor: a TensorFlow graph whose nodes are looked up by name, redirected, and replaced by pieces of other graphs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["GraphEditor", "add_constant", "add_node", "node_name", "readers_of", "remove_nodes", "shapes_in"]


def node_name(reference: str) -> str:
    """Return the name of the node that an input of another one refers to, as ``x`` of ``"x:1"`` and ``"^x"``."""
    return reference.removeprefix("^").partition(":")[0]


def shapes_in(graph: tf.Graph) -> Callable[[str], tf.TensorShape]:
    """Return what tells the shape of a tensor of a graph, by its reference as ``"x:1"``; unknown for one that is not there."""

    def shape_of(reference: str) -> tf.TensorShape:
        name, _, port = reference.partition(":")
        try:
            return graph.get_tensor_by_name(f"{name}:{port or 0}").shape
        except (KeyError, ValueError):  # of a node that was added since
            return tf.TensorShape(None)

    return shape_of


def readers_of(graph_def: Any) -> dict[str, list[Any]]:
    """Return, by the name of a node, the nodes that read what it makes, once for each input."""
    found: dict[str, list[Any]] = defaultdict(list)
    for node in graph_def.node:
        for reference in node.input:
            if not reference.startswith("^"):
                found[node_name(reference)].append(node)
    return found


def remove_nodes(nodes: Any, names: Collection[str]) -> None:
    """Remove nodes by their names from the nodes of a graph or of a function, in place."""
    for index in reversed(range(len(nodes))):
        if nodes[index].name in names:
            del nodes[index]


def add_constant(graph_def: Any, name: str, array: np.ndarray) -> str:
    """Add a constant to a graph; return its name."""
    node = graph_def.node.add(op="Const", name=name)
    node.attr["dtype"].type = tf.as_dtype(array.dtype).as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(array))
    return node.name


def add_node(graph_def: Any, op: str, name: str, inputs: Sequence[str], **types: int) -> str:
    """Add an operation whose attributes are types; return its name."""
    node = graph_def.node.add(op=op, name=name, input=inputs)
    for key, value in types.items():
        node.attr[key].type = value
    return node.name


class GraphEditor:
    """Edits the main graph of a ``GraphDef`` in place.

    Args:
        graph_def: the graph; its functions are left alone.
    """

    def __init__(self, graph_def: tf.compat.v1.GraphDef):
        self.graph_def = graph_def
        self.nodes: dict[str, Any] = {node.name: node for node in graph_def.node}

    def readers(self) -> dict[str, list[Any]]:
        """Return, by the name of a node, the nodes that read what it makes, once for each input."""
        return readers_of(self.graph_def)

    def producer(self, node: Any, index: int = 0) -> Any:
        """Return the node that makes an input of another one, behind what only passes it on."""
        source = self.nodes[node_name(node.input[index])]
        while source.op in ("Identity", "StopGradient"):
            source = self.nodes[node_name(source.input[0])]
        return source

    def constant(self, node: Any, index: int) -> Any:
        """Return the numbers at an input of a node as an array, None if they are not constant."""
        source = self.producer(node, index)
        return tf.make_ndarray(source.attr["value"].tensor) if source.op == "Const" else None

    def redirect(self, old: str, new: str) -> None:
        """Let all that reads the first output of the node ``old`` read the reference ``new`` instead."""
        for node in self.nodes.values():
            for index, reference in enumerate(node.input):
                if reference in (old, f"{old}:0"):
                    node.input[index] = new

    def replace(self, node: Any, build: Callable[[tf.Tensor], tf.Tensor], shape: Any, dtype: tf.DType) -> None:
        """Replace a node of one input and one output by operations; the last of them gets its name.

        Args:
            node: the node.
            build: makes the output from the input, in TensorFlow.
            shape: of the input; unknown sizes are None.
            dtype: of the input.
        """
        with tf.Graph().as_default() as piece:
            source = tf.compat.v1.placeholder(dtype, shape, name="source")
            tf.identity(build(source), name="result")
        name, read, control = node.name, node.input[0], [entry for entry in node.input[1:] if entry.startswith("^")]
        self.remove(node)
        for part in piece.as_graph_def().node:
            if part.name == "source":
                continue
            for index, reference in enumerate(part.input):
                part.input[index] = read if reference == "source" else f"{name}/{reference}"
            if part.name == "result":
                part.name, part.input[:] = name, [*part.input, *control]
            else:
                part.name = f"{name}/{part.name}"
            self.add(part)

    def add(self, node: Any) -> Any:
        """Add a node and return the one in the graph."""
        self.graph_def.node.append(node)
        self.nodes[node.name] = self.graph_def.node[-1]
        return self.nodes[node.name]

    def remove(self, node: Any) -> None:
        """Take a node out of the graph."""
        del self.nodes[node.name]
        self.graph_def.node.remove(node)
