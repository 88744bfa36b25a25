"""Reading a SavedModel without loading it: the graph of its signature, with the numbers of its variables from its checkpoint.

TensorFlow's own loader makes tables and variables by running functions of the SavedModel. Here its files are only read, and
nothing of it runs.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph
from tensorflow.python.framework import op_def_registry

from keras_compress.errors import ExportError
from keras_compress.export.graph_def import keep_needed
from keras_compress.export.inline_calls import inline_calls
from keras_compress.safe_mode import parsed_saved_model

__all__ = ["frozen_signature"]

_SIGNATURE = "serving_default"
#: Under which names a checkpoint holds its own structure, and the numbers of a variable.
_STRUCTURE, _NUMBERS = "_CHECKPOINTABLE_OBJECT_GRAPH", "VARIABLE_VALUE"


def frozen_signature(path: Path) -> tf.compat.v1.GraphDef:
    """Return the graph of the signature ``serving_default`` of a SavedModel, its variables as constants of their names.

    Args:
        path: the folder.

    Raises:
        ExportError: it has no such signature, or its variables are not in its checkpoint.
    """
    meta_graph = parsed_saved_model(path).meta_graphs[0]
    objects = meta_graph.object_graph_def
    name = _function_of_signature(objects, path)
    function = next((one for one in meta_graph.graph_def.library.function if one.signature.name == name), None)
    if function is None:
        raise ExportError(f"'{path}' is damaged: its function '{name}' is missing. Export the model again.")
    captured = _captured(meta_graph, objects.concrete_functions[name].bound_inputs, path)
    arguments = function.signature.input_arg
    graph_def = tf.compat.v1.GraphDef(library=meta_graph.graph_def.library)
    for argument in arguments[: len(arguments) - len(captured)]:
        node = graph_def.node.add(name=f"{_SIGNATURE}_{argument.name}", op="Placeholder")
        node.attr["dtype"].type = argument.type
    graph_def.node.extend(captured)
    sources = [node.name for node in graph_def.node]
    call = graph_def.node.add(name=_SIGNATURE, op="StatefulPartitionedCall", input=sources)
    call.attr["f"].func.name = name
    outputs = [
        graph_def.node.add(name=f"{_SIGNATURE}_output_{index}", op="Identity", input=[f"{_SIGNATURE}:{index}"]).name
        for index in range(len(function.signature.output_arg))
    ]
    inline_calls(graph_def)
    _write_defaults_out(graph_def)
    _read_constants(graph_def)
    keep_needed(graph_def, outputs)
    return graph_def


def _function_of_signature(objects: Any, path: Path) -> str:
    number = 0
    for wanted in ("signatures", _SIGNATURE):
        children = objects.nodes[number].children if number < len(objects.nodes) else ()
        number = next((child.node_id for child in children if child.local_name == wanted), -1)
        if not 0 <= number < len(objects.nodes):
            raise ExportError(
                f"'{path}' has no signature '{_SIGNATURE}'. Expected: an exported SavedModel. Export the model again."
            )
    node = objects.nodes[number]
    return node.bare_concrete_function.concrete_function_name or next(iter(node.function.concrete_functions), "")


def _captured(meta_graph: Any, numbers: Any, path: Path) -> list[Any]:
    """Return what a function gets from outside, as nodes: constants for variables and constants, placeholders for tables and files."""
    nodes = meta_graph.object_graph_def.nodes
    constants = {node.name: node for node in meta_graph.graph_def.node if node.op == "Const"}
    arrays = _variables(nodes, path)
    taken: set[str] = set()
    captured = []
    for number in numbers:
        kept = nodes[number] if 0 <= number < len(nodes) else None
        kind = None if kept is None else kept.WhichOneof("kind")
        name = kept.variable.name.partition(":")[0] if kept is not None and kind == "variable" else f"captured_{number}"
        while not name or name in taken:
            name = f"{name}_"
        taken.add(name)
        node = tf.compat.v1.NodeDef(name=name)
        if kind == "variable":
            if number not in arrays:
                raise ExportError(
                    f"'{path}' is damaged: its variable '{name}' is not in its checkpoint. Export the model again."
                )
            node.op = "Const"
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(arrays[number]))
            node.attr["dtype"].type = tf.as_dtype(arrays[number].dtype).as_datatype_enum
        elif kept is not None and kind == "constant" and kept.constant.operation in constants:
            node.CopyFrom(constants[kept.constant.operation])
            node.name = name
        else:
            node.op = "Placeholder"
            node.attr["dtype"].type = tf.resource.as_datatype_enum
        captured.append(node)
    return captured


def _variables(nodes: Any, path: Path) -> dict[int, np.ndarray]:
    """Return the numbers of every variable, by the number of its object: the checkpoint has the same objects by the same names."""
    prefix = path / "variables" / "variables"
    if not prefix.with_name("variables.index").exists():
        return {}
    reader = tf.train.load_checkpoint(str(prefix))
    stored = TrackableObjectGraph.FromString(reader.get_tensor(_STRUCTURE)).nodes
    found, seen = {}, {0}
    waiting = deque([(0, 0)])
    while waiting:
        number, place = waiting.popleft()
        for attribute in stored[place].attributes:
            if attribute.name == _NUMBERS:
                found[number] = reader.get_tensor(attribute.checkpoint_key)
        places = {child.local_name: child.node_id for child in stored[place].children}
        for child in nodes[number].children:
            known = 0 <= child.node_id < len(nodes) and 0 <= places.get(child.local_name, -1) < len(stored)
            if known and child.node_id not in seen:
                seen.add(child.node_id)
                waiting.append((child.node_id, places[child.local_name]))
    return found


def _write_defaults_out(graph_def: tf.compat.v1.GraphDef) -> None:
    """Give every node, in place, the attributes that a SavedModel leaves out because they have their default values."""
    for node in graph_def.node:
        definition = op_def_registry.get(node.op)
        for attribute in () if definition is None else definition.attr:
            if attribute.HasField("default_value") and attribute.name not in node.attr:
                node.attr[attribute.name].CopyFrom(attribute.default_value)


def _read_constants(graph_def: tf.compat.v1.GraphDef) -> None:
    """Let what reads a variable read the constant in its place. The graph is changed."""
    nodes = {node.name: node for node in graph_def.node}

    def constant(reference: str) -> str | None:
        """Return the constant that a reference leads to by what only passes it on."""
        seen: set[str] = set()
        while not reference.startswith("^") and reference not in seen:
            seen.add(reference)
            node = nodes.get(reference.removesuffix(":0"))
            if node is None or node.op not in ("Const", "Identity", "ReadVariableOp"):
                return None
            if node.op == "Const":
                return node.name
            reference = node.input[0] if node.input else "^"
        return None

    for node in list(graph_def.node):
        node.input[:] = [constant(reference) or reference for reference in node.input]
    for node in list(graph_def.node):
        source = constant(node.input[0]) if node.input else None
        if source is not None and node.op == "ResourceGather":
            _gather(graph_def, node, source)
        if source is not None and node.op == "ReadVariableOp":  # what only waits for it may go on to
            node.op, node.input[:] = "NoOp", []
            node.attr.clear()


def _gather(graph_def: tf.compat.v1.GraphDef, node: Any, source: str) -> None:
    """Make the rows that a node takes of a variable rows of a constant, in place."""
    axis = graph_def.node.add(name=f"{node.name}/axis", op="Const")
    axis.attr["dtype"].type = tf.int32.as_datatype_enum
    axis.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.int32(0)))
    indices, kinds = node.input[1], (node.attr["dtype"].type, node.attr["Tindices"].type)
    control = [reference for reference in node.input if reference.startswith("^")]
    node.op = "GatherV2"
    node.input[:] = [source, indices, axis.name, *control]
    node.attr.clear()
    node.attr["Tparams"].type, node.attr["Tindices"].type = kinds
    node.attr["Taxis"].type = tf.int32.as_datatype_enum
