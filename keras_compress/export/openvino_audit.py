"""What really runs in OpenVINO: the layers of a compiled model, read from its runtime graph.

A file is not INT8 because it was asked to be; the runtime decides. This module asks it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

__all__ = ["ExecutedLayer", "executed_layers"]

_COMPUTE = {"Convolution", "Deconvolution", "FullyConnected", "MatMul", "BinaryConvolution"}


@dataclass(frozen=True)
class ExecutedLayer:
    """A convolution or matrix product as the runtime executes it.

    Attributes:
        name: name of the node.
        kind: ``Convolution``, ``Deconvolution``, ``FullyConnected``, ``MatMul``, ``BinaryConvolution``.
        precision: of its input, as ``u8``, ``i8``, ``f32``.
        primitive: the kernel, as ``brgconv_avx512_I8``.
        multiply_accumulates: its work for one sample.
    """

    name: str
    kind: str
    precision: str
    primitive: str
    multiply_accumulates: int

    @property
    def runs_in_integers(self) -> bool:
        return self.precision in ("u8", "i8", "u1")


def executed_layers(compiled_model: Any) -> list[ExecutedLayer]:
    """Return every convolution and matrix product of a compiled ``openvino`` model.

    Args:
        compiled_model: an ``openvino.CompiledModel`` on CPU. Compile it with ``{"INFERENCE_PRECISION_HINT": "f32"}`` on a
            CPU with bfloat16, or layers in floating point run in bf16.
    """
    layers = []
    for node in compiled_model.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        kind, precision, primitive = (_text(info, key) for key in ("layerType", "runtimePrecision", "primitiveType"))
        if kind in _COMPUTE:
            layers.append(ExecutedLayer(node.get_friendly_name(), kind, precision, primitive, _work(node, kind)))
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
