"""What an OpenVINO model holds and what really runs: its constants, and the layers of the runtime graph.

A file is not INT8 because it was asked to be; the runtime decides. This module asks it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_compress.export.dataflow import Dataflow, source_node
from keras_compress.export.stored_weight import StoredWeight

__all__ = ["ExecutedLayer", "executed_layers", "stored_in_openvino"]

_COMPUTE = {"Convolution", "Deconvolution", "FullyConnected", "MatMul", "BinaryConvolution"}

_MOVES = {
    *(
        "Reshape",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "MaxPool",
        "Pad",
        "Concat",
        "StridedSlice",
        "Slice",
        "Split",
        "Tile",
    ),
    *("VariadicSplit", "Gather", "Interpolate", "Broadcast", "DepthToSpace", "SpaceToDepth", "SpaceToBatch"),
    *("BatchToSpace", "Convert", "ConvertLike", "ReduceMax", "ShapeOf"),
}
_COMPUTES = {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul"}
_INTEGERS = ("i8", "u8", "i4", "u4", "u1")
_STORED_AS = {"i8": "int8", "u8": "uint8", "i4": "int4", "u4": "uint4", "u1": "u1", "f32": "float32", "f16": "float16"}


@dataclass(frozen=True)
class ExecutedLayer:
    """A convolution or matrix product as the runtime executes it.

    Attributes:
        name: name of the node.
        kind: ``Convolution``, ``Deconvolution``, ``FullyConnected``, ``MatMul``, ``BinaryConvolution``.
        precision: of its input, as ``u8``, ``i8``, ``f32``.
        primitive: the kernel, as ``brgconv_avx512_I8``.
        multiply_accumulates: its work for one sample.
        weight_size: number of elements of its second input, 0 if that is not fixed.
    """

    name: str
    kind: str
    precision: str
    primitive: str
    multiply_accumulates: int
    weight_size: int = 0

    @property
    def runs_in_integers(self) -> bool:
        return self.precision in ("u8", "i8", "u1")


def executed_layers(compiled_model: Any) -> list[ExecutedLayer]:
    """Return every convolution and matrix product of a compiled ``openvino`` model.

    Args:
        compiled_model: an ``openvino.CompiledModel`` on CPU. Compile it with ``{"INFERENCE_PRECISION_HINT": "f32"}`` on
            a CPU with bfloat16, or layers in floating point run in bf16.
    """
    layers = []
    for node in compiled_model.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        kind, precision, primitive = (_text(info, key) for key in ("layerType", "runtimePrecision", "primitiveType"))
        if kind in _COMPUTE:
            shape = node.input(1).get_partial_shape()
            weight_size = math.prod(size.get_length() for size in shape) if shape.is_static else 0
            name = node.get_friendly_name()
            layers.append(ExecutedLayer(name, kind, precision, primitive, _work(node, kind), weight_size))
    return layers


def _work(node: Any, kind: str) -> int:
    """Count multiply-accumulates for one sample: elements of the output times products summed up in each."""
    output, inputs, weights = (
        [max(size.get_length(), 1) if size.is_static else 1 for size in shape]
        for shape in (node.get_output_partial_shape(0), *(node.input(i).get_partial_shape() for i in range(2)))
    )
    if kind in ("FullyConnected", "MatMul"):
        return math.prod(output) * inputs[-1]
    pixels = math.prod(inputs[2:]) if kind == "Deconvolution" else math.prod(output[2:])
    return pixels * math.prod(weights)


def _text(info: Any, key: str) -> str:
    return info[key].astype(str) if key in info else ""


def stored_in_openvino(model: Any) -> list[StoredWeight]:
    """Return the constants of an ``openvino.Model``; what is computed from a constant alone counts as that constant."""
    import openvino

    nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    inputs = {
        name: [source_node(node, i).get_friendly_name() for i in range(node.get_input_size())]
        for name, node in nodes.items()
    }
    kinds = {name: node.get_type_name() for name, node in nodes.items()}
    constant: set[str] = set()
    for name, kind in kinds.items():
        if kind == "Constant" or (inputs[name] and kind != "Result" and constant.issuperset(inputs[name])):
            constant.add(name)
    for name in kinds:
        if name in constant and kinds[name] == "FakeQuantize":
            kinds[name] = "QuantizedConstant"
    flow = Dataflow(kinds, inputs, _MOVES, _COMPUTES, {"FakeQuantize"})
    read = {source for name, sources in inputs.items() if name not in constant for source in sources}
    borders = [name for name in nodes if name in constant & read and _is_weight(nodes[name])]
    values = dict(zip(borders, _evaluate(openvino, [nodes[name] for name in borders]), strict=True))
    runs = _in_integers(executed_layers(_compiled(openvino, model)))
    found = []
    for name in borders:
        root = _largest_constant(nodes[name])
        element = root.get_element_type().get_type_name()
        quantized = _is_integer(root) or _behind_quantizer(nodes[name])
        reads = flow.input_quantized(name)
        found.append(
            StoredWeight(
                root.get_friendly_name(),
                values[name],
                _STORED_AS.get(element, element),
                -(-math.prod(root.get_output_shape(0)) * root.get_element_type().bitwidth // 8),
                quantized,
                reads,
                None if reads is None else runs.get(values[name].size),
            )
        )
    return found


def _in_integers(layers: list[ExecutedLayer]) -> dict[int, bool]:
    """Return by size of the weight whether layers compute in integers; sizes whose layers differ are left out.

    The compiled model has names of its own for most layers, so the size has to tell which is which.
    """
    found: dict[int, set[bool]] = {}
    for layer in layers:
        found.setdefault(layer.weight_size, set()).add(layer.runs_in_integers)
    return {size: answers.pop() for size, answers in found.items() if len(answers) == 1}


def _is_weight(node: Any) -> bool:
    is_float = node.get_element_type().is_real()
    return is_float and node.get_output_partial_shape(0).is_static and len(node.get_output_shape(0)) > 0


def _ancestors(node: Any) -> list[Any]:
    found = [node]
    for current in found:
        found += [source_node(current, index) for index in range(current.get_input_size())]
    return found


def _largest_constant(node: Any) -> Any:
    """Return the constant that holds the numbers of a weight; of several of one size, as the scales of one row, the integers.

    Orders of axes and sizes are constants too, and may be longer than a small weight.
    """
    constants = [one for one in _ancestors(node) if one.get_type_name() == "Constant" and _may_be_weight(one)]
    return max(constants, key=lambda one: (math.prod(one.get_output_shape(0)), _is_integer(one)))


def _may_be_weight(constant: Any) -> bool:
    return constant.get_element_type().is_real() or _is_integer(constant)


def _is_integer(node: Any) -> bool:
    return node.get_element_type().get_type_name() in _INTEGERS


def _behind_quantizer(node: Any) -> bool:
    return any(one.get_type_name() == "FakeQuantize" for one in _ancestors(node))


def _evaluate(openvino: Any, nodes: list[Any]) -> list[np.ndarray]:
    """Return the values of nodes that depend on constants alone."""
    known = {id(node): _without_computing(node) for node in nodes}
    missing = [node for node in nodes if known[id(node)] is None]
    computed = iter(())
    if missing:
        model = openvino.Model([node.output(0) for node in missing], [])
        computed = iter(_compiled(openvino, model)([]).values())
    return [
        np.array(next(computed) if known[id(node)] is None else known[id(node)], np.float32).reshape(node.shape)
        for node in nodes
    ]


def _without_computing(node: Any) -> np.ndarray | None:
    """Return the values of a constant, or of one-bit weights, which the CPU plugin gets wrong by themselves; else None."""
    if node.get_type_name() == "Constant":
        return node.get_data()
    root = _largest_constant(node)
    if root.get_element_type().get_type_name() != "u1":
        return None
    bits = np.unpackbits(np.asarray(root.get_data()).view(np.uint8))[: math.prod(root.shape)].reshape(root.shape)
    low, high = (source_node(node, index).get_data() for index in (3, 4))
    return np.where(bits > 0, high, low)


def _compiled(openvino: Any, model: Any) -> Any:
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
