"""Kernels of transposed convolutions in TensorFlow Lite files, with a scale for each channel.

LiteRT computes transposed convolutions in integers with a scale per channel, but the converter takes one scale for the whole kernel
only. So a kernel goes through it with one scale, and the file gets the integers and the scales of its channels afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from keras_compress.export.quantized_constants import IntegerConstant, dequantized

__all__ = ["with_channel_scales"]

_TYPES = schema.TensorType
#: How far, in steps, a number may be from the one that the converter made of it.
_NEAR = 0.51
#: Positions of the inputs of the operator.
_WEIGHTS, _DATA, _BIAS = 1, 2, 3


def with_channel_scales(content: bytes, kernels: Iterable[IntegerConstant]) -> tuple[bytes, list[str]]:
    """Return a file whose transposed convolutions have kernels with a scale for each channel.

    Args:
        content: the file, whose kernels have one scale.
        kernels: as the graph has them, of the shape ``(height, width, outputs, inputs)``, the outputs with a scale each.

    Returns:
        The file, and the names of those kernels that it does not compute with in integers.
    """
    wanted = {kernel.name: _Kernel(kernel) for kernel in kernels}
    if not wanted:
        return content, []
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    found: set[str] = set()
    for graph in model.subgraphs:
        exchanged: dict[int, _Kernel] = {}
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            if max(code.builtinCode, code.deprecatedBuiltinCode) == schema.BuiltinOperator.TRANSPOSE_CONV:
                index = int(operator.inputs[_WEIGHTS])
                if graph.tensors[int(operator.inputs[_DATA])].type != _TYPES.INT8:
                    continue
                if index not in exchanged:
                    same = [name for name, kernel in wanted.items() if kernel.is_stored_in(model, graph.tensors[index])]
                    found.update(same)
                    if not same:
                        continue
                    exchanged[index] = wanted[same[0]]
                    exchanged[index].store_in(model, graph.tensors[index])
                _scale_bias(model, graph, operator, exchanged[index])
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model)), [name for name in wanted if name not in found]


class _Kernel:
    """A kernel in the layout of files, ``(outputs, height, width, inputs)``."""

    def __init__(self, constant: IntegerConstant):
        self.integers = np.ascontiguousarray(constant.values.transpose(2, 0, 1, 3))
        self.floats = dequantized(constant).transpose(2, 0, 1, 3)
        self.scale = constant.scale

    def is_stored_in(self, model: Any, tensor: Any) -> bool:
        """Return whether a tensor holds these numbers with one scale."""
        if (
            tensor.type != _TYPES.INT8
            or tuple(tensor.shape) != self.integers.shape
            or len(tensor.quantization.scale) != 1
        ):
            return False
        data = model.buffers[tensor.buffer].data
        if data is None:
            return False
        integers, step = np.asarray(data, np.uint8).view(np.int8), np.float32(tensor.quantization.scale[0])
        return bool(np.all(np.abs(integers.reshape(self.floats.shape) * step - self.floats) <= _NEAR * step))

    def store_in(self, model: Any, tensor: Any) -> None:
        """Exchange the numbers of a tensor."""
        tensor.buffer = _buffer(model, self.integers, tensor.buffer)
        tensor.quantization = _per_channel(self.scale)


def _scale_bias(model: Any, graph: Any, operator: Any, kernel: _Kernel) -> None:
    """Give the bias of an operator the scales that belong to its kernel."""
    index = int(operator.inputs[_BIAS]) if len(operator.inputs) > _BIAS else -1
    if index < 0:
        return
    before, data = graph.tensors[index], graph.tensors[int(operator.inputs[_DATA])]
    stored = np.asarray(model.buffers[before.buffer].data, np.uint8).view(_INTEGERS[before.type])
    scale = (np.float32(data.quantization.scale[0]) * kernel.scale).astype(np.float32)
    limits = np.iinfo(stored.dtype)
    steps = np.round(stored * np.float64(before.quantization.scale[0]) / scale)
    made = schema.TensorT()
    made.shape, made.type, made.name, made.hasRank = (
        before.shape,
        before.type,
        before.name + b"/channels",
        before.hasRank,
    )
    made.buffer = _buffer(model, np.clip(steps, limits.min, limits.max).astype(stored.dtype), before.buffer)
    made.quantization = _per_channel(scale)
    graph.tensors.append(made)
    operator.inputs[_BIAS] = len(graph.tensors) - 1


_INTEGERS = {_TYPES.INT32: np.int32, _TYPES.INT64: np.int64}


def _buffer(model: Any, array: np.ndarray, before: int) -> int:
    """Return a buffer with the numbers of an array: the one before, if nothing else needs it, or else a new one."""
    buffer = schema.BufferT()
    if sum(tensor.buffer == before for graph in model.subgraphs for tensor in graph.tensors) == 1:
        buffer = model.buffers[before]
    else:
        model.buffers.append(buffer)
    buffer.data = np.frombuffer(array.tobytes(), np.uint8)
    return model.buffers.index(buffer)


def _per_channel(scale: np.ndarray) -> Any:
    """Return the parameters of integers with a scale for each place on their first axis."""
    made = schema.QuantizationParametersT()
    made.scale, made.zeroPoint = scale.astype(np.float32), np.zeros(scale.size, np.int64)
    made.quantizedDimension = 0
    return made
