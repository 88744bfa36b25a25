"""Reading ONNX files: the constants that may be weights, what computes with them, and how ONNX Runtime executes it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.export.dataflow import Dataflow
from keras_compress.export.stored_weight import StoredWeight

__all__ = ["stored_in_onnx"]

_MOVES = {
    *("Reshape", "Transpose", "Identity", "Squeeze", "Unsqueeze", "MaxPool", "Pad", "Concat", "Slice", "Split", "Tile"),
    *("Gather", "Resize", "Flatten", "Expand", "DepthToSpace", "SpaceToDepth", "ReduceMax", "GlobalMaxPool"),
}
_COMPUTES = {"Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum"}


def stored_in_onnx(model: Any, path: Path) -> list[StoredWeight]:
    """Return the constants of a model; integers as the numbers behind their DequantizeLinear."""
    from onnx import numpy_helper

    graph = model.graph
    kinds = {name: node.op_type for node in graph.node for name in node.output}
    inputs = {name: list(node.input) for node in graph.node for name in node.output}
    kinds.update({value.name: "Input" for value in graph.input})
    constant = {value.name for value in graph.initializer}
    # behind an initializer, DequantizeLinear is part of the weight; a quantizer is one that reads computed values
    for name, kind in kinds.items():
        if kind == "DequantizeLinear" and inputs[name][0] not in constant:
            kinds[name] = "Quantizer"
    flow = Dataflow(kinds, inputs, _MOVES, _COMPUTES, {"Quantizer"})
    computed = _computed_in_integers(path)
    arrays = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    found, parameters = [], set()
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constant:
            integers = arrays[node.input[0]]
            values = _dequantized(node, *(arrays[name] for name in node.input))
            size = -(-integers.size // 2) if "4" in str(integers.dtype) else integers.nbytes
            runs = None if computed is None else _fingerprint(integers) in computed
            reads = flow.input_quantized(node.output[0])
            found.append(
                StoredWeight(node.input[0], values, str(integers.dtype), size, True, reads, runs and bool(reads))
            )
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            parameters.update(node.input)
        if node.op_type == "Cast" and node.input[0] in constant:
            found.append(_multiplied(node, graph, arrays))
    for name, values in arrays.items():
        if values.dtype == np.float32 and values.ndim and name not in parameters:
            reads = flow.input_quantized(name)
            found.append(
                StoredWeight(name, values, "float32", values.nbytes, False, reads, None if reads is None else False)
            )
    return found


def _multiplied(cast: Any, graph: Any, arrays: dict[str, np.ndarray]) -> StoredWeight:
    """Return a constant that the graph casts, centers and multiplies; what reads it computes in floating point."""
    integers = arrays[cast.input[0]]
    center = next(node for node in graph.node if cast.output[0] in node.input)
    multiply = next(node for node in graph.node if center.output[0] in node.input)
    scale = next(name for name in multiply.input if name != center.output[0])
    values = (integers.astype(np.float32) - arrays[center.input[1]]) * arrays[scale]
    return StoredWeight(cast.input[0], values, str(integers.dtype), integers.nbytes, True, None, False)


def _dequantized(node: Any, integers: np.ndarray, scale: np.ndarray, zero_point: np.ndarray) -> np.ndarray:
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    shape = [-1 if position == axis % integers.ndim else 1 for position in range(integers.ndim)] if scale.ndim else []
    centered = integers.astype(np.int32) - zero_point.astype(np.int32).reshape(shape)
    return (centered * scale.reshape(shape)).astype(np.float32)


def _computed_in_integers(path: Path) -> set[tuple] | None:
    """Return the integer weights with which ONNX Runtime computes in integers; None if it is not there or refuses."""
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        try:
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            optimized = onnx.load(options.optimized_model_filepath).graph
        except Exception:
            return None
    read = {
        name
        for node in optimized.node
        if node.op_type.startswith("QLinear") or node.op_type == "QGemm" or "Integer" in node.op_type
        for name in node.input
    }
    return {_fingerprint(onnx.numpy_helper.to_array(value)) for value in optimized.initializer if value.name in read}


def _fingerprint(integers: np.ndarray) -> tuple:
    """Return what stays the same when integers are transposed, or moved from int8 to uint8."""
    values = integers.astype(np.int64)
    values = values - 128 if integers.dtype == np.uint8 else values
    return values.size, int(np.abs(values).sum()), int((values**2).sum())
