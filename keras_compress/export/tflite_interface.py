"""What a TensorFlow Lite file takes and gives, and whether a runtime that users have can run it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_compress._keras import keras
from keras_compress.errors import ExportError, short_repr
from keras_compress.export.format import TensorNames
from keras_compress.export.tflite_audit import in_order, require_litert
from keras_compress.graph import ModelGraph, TensorRef, take
from keras_compress.graph.view import OUTPUT
from keras_compress.reports import FileTensor

__all__ = ["file_tensors", "lacking_operators", "require_builtin_operators", "require_types", "warn_of_floats"]

#: What the names of operators begin with that only a runtime with TensorFlow inside has.
_FLEX = "Flex"


def require_types(io_type: object, activation_type: object) -> None:
    """Refuse types of inputs and outputs, or of activations, that a file cannot have.

    Raises:
        ExportError: a type is unknown, or the two do not go together.
    """
    if not isinstance(io_type, str) or io_type not in ("float32", "int8", "uint8", "int16"):
        raise ExportError(
            "Inputs are float32, int8 or uint8, and int16 where activations are. Expected: one of these for 'io_type'. Received: "
            f"io_type={short_repr(io_type)}. Choose one of them."
        )
    if not isinstance(activation_type, str) or activation_type not in ("int8", "int16"):
        raise ExportError(
            "Activations are int8 or int16. Expected: one of these for 'activation_type'. Received: "
            f"activation_type={short_repr(activation_type)}. Choose one of them."
        )
    if io_type not in ("float32", "int16" if activation_type == "int16" else "int8", "uint8") or (
        io_type == "uint8" and activation_type == "int16"
    ):
        raise ExportError(
            "Inputs and outputs have the type of activations, or are float32. Expected: io_type='float32' or 'int16' with "
            "activation_type='int16', and 'float32', 'int8' or 'uint8' with 'int8'. Received: "
            f"io_type={io_type!r}, activation_type={activation_type!r}. Choose two that go together."
        )


def file_tensors(path: Path, names: TensorNames) -> tuple[list[FileTensor], list[FileTensor]]:
    """Return the inputs and the outputs of a file, in the order of the model."""
    interpreter = require_litert().Interpreter(str(path))
    sides = (interpreter.get_input_details(), names.inputs), (interpreter.get_output_details(), names.outputs)
    inputs, outputs = (
        [_described(name, tensor) for name, tensor in zip(wanted, in_order(details, wanted), strict=False)]
        for details, wanted in sides
    )
    return inputs, outputs


def _described(name: str, tensor: dict) -> FileTensor:
    scale, zero_point = tensor["quantization"]
    shape = tuple(None if size < 0 else int(size) for size in tensor["shape_signature"])
    kind = tensor["dtype"].__name__
    if not scale:
        return FileTensor(name, shape, kind)
    return FileTensor(name, shape, kind, float(scale), int(zero_point))


def require_builtin_operators(content: bytes, graph_def: Any, path: str | Path) -> None:
    """Refuse a file with operators that TensorFlow Lite itself does not have.

    Args:
        content: the file.
        graph_def: the graph that it was converted from.
        path: where it is to be written.

    Raises:
        ExportError: there are such operators. The message names them and the layers that need them.
    """
    interpreter = require_litert().Interpreter(model_content=content)
    names = {operation["op_name"] for operation in interpreter._get_ops_details()}
    foreign = sorted(name.removeprefix(_FLEX) for name in names if name.startswith(_FLEX))
    if foreign:
        raise ExportError(lacking_operators(foreign, graph_def, path))


def lacking_operators(operators: Sequence[str], graph_def: Any, path: str | Path) -> str:
    """Return what to say of operators that TensorFlow Lite does not have, with the layers that need them and the remedy."""
    nodes = [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]
    needed = [f"'{name}' for {_layers(nodes, name)}" for name in operators]
    return (
        f"TensorFlow Lite has no operator {', '.join(needed)}. Expected for '{path}': operators that it has itself; with those of "
        "TensorFlow the file runs nowhere without its Flex delegate. Write these layers with other operations, leave them "
        "out of the exported model, or choose another format."
    )


def _layers(nodes: Sequence[Any], operator: str) -> str:
    """Return the layers, by their paths in the graph, whose nodes are of an operator."""
    paths = dict.fromkeys(node.name.rpartition("/")[0] or node.name for node in nodes if node.op == operator)
    layers = [path.partition("/")[2] or path for path in paths]
    return "layer " + ", ".join(f"'{layer}'" for layer in layers) if layers else "a layer"


def warn_of_floats(content: bytes, model: keras.Model, names: TensorNames, io_type: str) -> None:
    """Warn of inputs and outputs that are float32 though integers were asked for, and name the layers that are the reason.

    Args:
        content: the file.
        model: the compressed model it was made from.
        names: of its inputs and outputs.
        io_type: what was asked for.
    """
    interpreter = require_litert().Interpreter(model_content=content)
    graph = ModelGraph(take(model))
    sides = (
        (
            "input",
            names.inputs,
            interpreter.get_input_details(),
            [_readers(graph, path) for path in graph.model_inputs],
        ),
        ("output", names.outputs, interpreter.get_output_details(), _makers(graph)),
    )
    for side, wanted, details, reasons in sides:
        for name, tensor, reason in zip(wanted, in_order(details, wanted), reasons, strict=False):
            if tensor["dtype"].__name__ == "float32":
                warnings.warn(
                    f"io_type='{io_type}' has no effect on {side} '{name}', which stays float32: {reason}.",
                    stacklevel=4,
                )


def _readers(graph: ModelGraph, path: str) -> str:
    readers = [ref for ref in graph.successors(TensorRef(path, 0, 0)) if not ref.layer.endswith(OUTPUT)]
    layers = ", ".join(f"'{ref.layer}' ({graph.nodes[ref].class_name})" for ref in readers) or "nothing else"
    return f"{layers} reads it in floating point. To feed integers, export the model without what reads it"


def _makers(graph: ModelGraph) -> list[str]:
    makers = [graph.producer(tensor) for tensor in graph.model_outputs]
    return [
        f"'{node.ref.layer}' ({node.class_name}) makes it in floating point. Pass calibration_data=…, to measure its range"
        for node in makers
    ]
