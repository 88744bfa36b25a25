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
from keras_compress.export.graph_editing import node_name, remove_nodes
from keras_compress.export.operation_layer import first_operation, maker_of

__all__ = ["draws_random_numbers", "leave_out_assignments", "random_numbers"]

_ASSIGNMENTS = frozenset(
    (
        *("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp", "ResourceStridedSliceAssign"),
        *(f"ResourceScatter{how}" for how in ("Update", "Add", "Sub", "Mul", "Div", "Min", "Max")),
        *(f"ResourceScatterNd{how}" for how in ("Update", "Add", "Sub", "Min", "Max")),
    )
)
_RANDOM = ("Random", "Multinomial", "TruncatedNormal", "ParameterizedTruncatedNormal", "StatelessMultinomial")
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
    bodies = graph_def.library.function
    every_node = [graph_def.node, *(body.node_def for body in bodies)]
    if not any(node.op in _ASSIGNMENTS for nodes in every_node for node in nodes):
        return
    changed = _changed_variables(model, function)
    if changed:
        raise ExportError(
            f"{maker_of(first_operation(graph_def, _ASSIGNMENTS), model)} assigns a variable when it is called: {changed[:3]}. A file for "
            "inference has constants and no variables. Expected: a call() that leaves variables as they are outside training. "
            f"Received: assignments to {len(changed)}. Compute with the new value instead of assigning it, or assign only if "
            "training is true."
        )
    for nodes in every_node:
        names = {node.name for node in nodes if node.op in _ASSIGNMENTS}
        remove_nodes(nodes, names)
        for node in nodes:
            node.input[:] = [reference for reference in node.input if node_name(reference) not in names]
    for body in bodies:
        left = {node.name for node in body.node_def}
        gone = [key for key, name in body.control_ret.items() if name not in left]
        for key in gone:
            del body.control_ret[key]
        body.signature.control_output[:] = [key for key in body.signature.control_output if key not in gone]


def random_numbers(graph_def: tf.compat.v1.GraphDef) -> frozenset[str]:
    """Return the kinds of operations of a graph that draw random numbers."""
    every_node = [*graph_def.node, *(node for body in graph_def.library.function for node in body.node_def)]
    return frozenset(node.op for node in every_node if draws_random_numbers(node.op))


def draws_random_numbers(op: str) -> bool:
    """Whether operations of a kind draw random numbers: two of them make two results, whatever they read."""
    return "Random" in op or any(op.startswith(kind) for kind in _RANDOM)


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
