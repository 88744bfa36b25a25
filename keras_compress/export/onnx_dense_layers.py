"""Dense layers in ONNX graphs: a matrix product of integers and its bias as one Gemm with an int32 bias.

ONNX Runtime joins a product and a floating-point bias by itself, and then computes them in floating point.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["join_dense_layers"]


def join_dense_layers(model: Any) -> None:
    """Turn ``Add(MatMul(x, w), b)`` into ``Gemm(x, w, b)`` where x is a matrix and x and w are integers, in place."""
    import onnx

    graph = model.graph
    ranks = _ranks(onnx.shape_inference.infer_shapes(model).graph)
    producers: Any = {name: node for node in graph.node for name in node.output}
    arrays: Any = {value.name: value for value in graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in graph.output}
    for product in [node for node in graph.node if node.op_type == "MatMul"]:
        behind = readers.get(product.output[0], [])
        sources = [producers.get(name) for name in product.input]
        if (
            len(behind) != 1
            or behind[0].op_type != "Add"
            or product.output[0] in outputs
            or ranks.get(product.input[0]) != 2
        ):
            continue
        if not all(source is not None and source.op_type == "DequantizeLinear" for source in sources):
            continue
        bias_name = next((name for name in behind[0].input if name in arrays), None)
        scales = [arrays.get(source.input[1]) for source in sources]
        if bias_name is None or None in scales:
            continue
        bias = onnx.numpy_helper.to_array(arrays[bias_name])
        one, other = (onnx.numpy_helper.to_array(part).astype(np.float64) for part in scales)
        if one.size > 1:  # one grid per feature of the input: no grid fits their sum
            continue
        scale = one * other
        integers = _integer_bias(bias, scale)
        if integers is None:
            continue
        parts = {"quantized": integers, "scale": np.broadcast_to(scale, bias.shape).astype(np.float32)}
        parts["zero_point"] = np.zeros(bias.shape, np.int32)
        names = [f"{behind[0].name}/bias/{part}" for part in parts]
        for name, array in zip(names, parts.values(), strict=True):
            graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        output = f"{behind[0].name}/bias"
        position = list(graph.node).index(product)
        graph.node.insert(position, onnx.helper.make_node("DequantizeLinear", names, [output], name=output, axis=0))
        product.op_type = "Gemm"
        product.input.append(output)
        product.output[0] = behind[0].output[0]
        graph.node.remove(behind[0])
    read = {name for node in graph.node for name in node.input}
    for value in [value for value in graph.initializer if value.name not in read]:
        graph.initializer.remove(value)


def _ranks(graph: Any) -> dict[str, int]:
    values = (*graph.input, *graph.value_info, *graph.output)
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }


def _integer_bias(bias: np.ndarray, scale: np.ndarray) -> np.ndarray | None:
    """Return a bias in steps of ``scale``, None where it has no room in int32."""
    steps = np.round(bias.astype(np.float64) / scale)
    if bias.ndim != 1 or np.abs(steps).max(initial=0) >= 2**31:
        return None
    return steps.astype(np.int32)
