"""Operations of a graph that are no function of the inputs: assignments to variables, and random numbers.

A file for inference has no variables. An assignment that leaves every variable as it is, as a mask multiplied into a kernel
that is already masked, can be left out; one that changes something cannot.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.errors import ExportError
from keras_compress.export.graph_editing import node_name

__all__ = ["layers_with", "leave_out_assignments", "random_numbers"]

_ASSIGNMENTS = frozenset(
    ("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp", "ResourceScatterUpdate", "ResourceScatterAdd")
)
_SAMPLES = 2


def leave_out_assignments(model: keras.Model, function: Any, graph_def: tf.compat.v1.GraphDef) -> None:
    """Remove, in place, assignments that change nothing.

    Args:
        model: the model for inference.
        function: the traced function that the graph was made of.
        graph_def: the graph, its variables as constants.

    Raises:
        ExportError: an assignment changes a variable, and with it what the model computes next.
    """
    every_node = [graph_def.node, *(body.node_def for body in graph_def.library.function)]
    if not any(node.op in _ASSIGNMENTS for nodes in every_node for node in nodes):
        return
    changed = _changed_variables(model, function)
    if changed:
        raise ExportError(
            f"{_named(layers_with(model, graph_def, _ASSIGNMENTS))} assigns a variable when it is called: {changed[:3]}. A file for "
            "inference has constants and no variables. Expected: a call() that leaves variables as they are outside training. "
            f"Received: assignments to {len(changed)}. Compute with the new value instead of assigning it, or assign only if "
            "training is true."
        )
    for nodes in every_node:
        names = {node.name for node in nodes if node.op in _ASSIGNMENTS}
        for index in reversed(range(len(nodes))):
            if nodes[index].name in names:
                del nodes[index]
                continue
            kept = [reference for reference in nodes[index].input if node_name(reference) not in names]
            del nodes[index].input[:]
            nodes[index].input.extend(kept)


def random_numbers(graph_def: tf.compat.v1.GraphDef) -> frozenset[str]:
    """Return the kinds of operations of a graph that draw random numbers."""
    every_node = [*graph_def.node, *(node for body in graph_def.library.function for node in body.node_def)]
    found = {node.op for node in every_node}
    return frozenset(op for op in found if "Random" in op or "Multinomial" in op or op == "TruncatedNormal")


def layers_with(model: keras.Model, graph_def: tf.compat.v1.GraphDef, operations: frozenset[str]) -> list[str]:
    """Return the layers whose operations in a graph are of certain kinds, in the order of the model."""
    parts = [set(node.name.split("/")) for node in graph_def.node if node.op in operations]
    return [layer.name for layer in model.layers if any(layer.name in part for part in parts)]


def _named(layers: list[str]) -> str:
    return f"Layer '{layers[0]}'" if layers else "A layer"


def _changed_variables(model: keras.Model, function: Any) -> list[str]:
    """Return the names of the variables that two calls on random inputs change; they get their values back."""
    before = [variable.numpy() for variable in model.variables]
    generator = np.random.default_rng(0)
    try:
        for _ in range(2):
            function(*(_sample(tensor, generator) for tensor in function.inputs[: len(model.inputs)]))
        return [
            variable.name.partition(":")[0]
            for variable, value in zip(model.variables, before, strict=True)
            if not np.array_equal(variable.numpy(), value)
        ]
    finally:
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(value)


def _sample(tensor: tf.Tensor, generator: np.random.Generator) -> tf.Tensor:
    numbers = generator.normal(size=[size or _SAMPLES for size in tensor.shape.as_list()])
    return tf.cast(numbers if tensor.dtype.is_floating else np.abs(numbers) < 1, tensor.dtype)
