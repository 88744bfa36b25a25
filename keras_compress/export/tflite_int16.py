"""Activations of 16 bits in a TensorFlow Lite file, beside weights of 8 bits.

The file is converted with activations of 8 bits, which become 16 here: the grid of each tensor is exchanged for one that is symmetric
around zero, covers the same range, and has at least 128 times as many steps in it. What LiteRT has no such kernel for reads and makes
floats.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

__all__ = ["with_int16_activations"]

_TYPES, _OPERATORS, _FUSED = schema.TensorType, schema.BuiltinOperator, schema.ActivationFunctionType
#: Levels on one side of zero.
_LEVELS = 32767
#: Grids of 8 bits that activation functions of a fixed range have, as scale and zero point, and the scale of 16 bits they need.
_FIXED = {(1 / 256, -128): 1 / 32768, (1 / 128, 0): 1 / 32768}
#: Operators with a kernel for 16 bits, and the least version of the schema that has it.
_KERNELS = {
    _OPERATORS.CONV_2D: 4,
    _OPERATORS.DEPTHWISE_CONV_2D: 5,
    _OPERATORS.FULLY_CONNECTED: 4,
    _OPERATORS.TRANSPOSE_CONV: 2,
    _OPERATORS.ADD: 4,
    _OPERATORS.SUB: 5,
    _OPERATORS.MUL: 4,
    _OPERATORS.CONCATENATION: 3,
    _OPERATORS.MAX_POOL_2D: 3,
    _OPERATORS.AVERAGE_POOL_2D: 3,
    _OPERATORS.MEAN: 2,
    _OPERATORS.SOFTMAX: 3,
    _OPERATORS.LOGISTIC: 3,
    _OPERATORS.TANH: 3,
    _OPERATORS.LEAKY_RELU: 2,
    _OPERATORS.RELU: 2,
    _OPERATORS.PAD: 3,
    _OPERATORS.TRANSPOSE: 5,
    _OPERATORS.STRIDED_SLICE: 4,
    _OPERATORS.RESIZE_BILINEAR: 4,
    _OPERATORS.RESIZE_NEAREST_NEIGHBOR: 4,
    _OPERATORS.RESHAPE: 1,
    _OPERATORS.SQUEEZE: 2,
    _OPERATORS.EXPAND_DIMS: 1,
    _OPERATORS.SHAPE: 1,
    _OPERATORS.QUANTIZE: 2,
    _OPERATORS.DEQUANTIZE: 3,
}
#: Those of them that may have a rectifier inside.
_WITH_RECTIFIER = (
    *(_OPERATORS.CONV_2D, _OPERATORS.DEPTHWISE_CONV_2D, _OPERATORS.FULLY_CONNECTED),
    *(_OPERATORS.ADD, _OPERATORS.SUB, _OPERATORS.MUL),
)
#: The last code that the first versions of the schema have a place for.
_LAST_OLD_CODE = 127
#: Those of them that compute with a weight of 8 bits: the positions of data, weight and bias among their inputs.
_WEIGHTS = {
    _OPERATORS.CONV_2D: (0, 1, 2),
    _OPERATORS.DEPTHWISE_CONV_2D: (0, 1, 2),
    _OPERATORS.FULLY_CONNECTED: (0, 1, 2),
    _OPERATORS.TRANSPOSE_CONV: (2, 1, 3),
}


def with_int16_activations(content: bytes) -> bytes:
    """Return a file whose activations have 16 bits where they had 8; zero points are 0, and biases have 64 bits.

    Args:
        content: a file with inputs and outputs of float32.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    for graph in model.subgraphs:
        _Graph(model, graph).widen()
    _empty_unused_buffers(model)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _empty_unused_buffers(model: Any) -> None:
    """Take away the numbers that were exchanged."""
    read: set[int] = {int(entry.buffer) for entry in model.metadata or ()}
    for graph in model.subgraphs:
        needed = {int(index) for one in graph.operators for index in (*one.inputs, *one.outputs)}
        needed.update(map(int, (*graph.inputs, *graph.outputs)))
        read.update(int(tensor.buffer) for index, tensor in enumerate(graph.tensors) if index in needed)
        for index, tensor in enumerate(graph.tensors):
            tensor.buffer = tensor.buffer if index in needed else 0
    for index, buffer in enumerate(model.buffers):
        if index not in read:
            buffer.data = None


class _Graph:
    """One graph of a file, as TensorFlow's classes of the schema; it is changed in place."""

    def __init__(self, model: Any, graph: Any):
        self.model, self.graph, self.operators = model, graph, list[Any]()

    def widen(self) -> None:
        """Exchange the types and the grids of all activations."""
        weights: set[int] = set()
        for one in self.graph.operators:
            kind = self._kind(one)
            if kind not in _KERNELS:
                self._compute_in_float(one)
                continue
            self.operators.append(one)
            if kind in _WEIGHTS:
                data, weight, bias = _WEIGHTS[kind]
                weights.add(int(one.inputs[weight]))
                self._widen_bias(one, int(one.inputs[data]), weight, bias)
            elif kind == _OPERATORS.DEQUANTIZE and self._is_constant(one.inputs[0]):
                weights.add(int(one.inputs[0]))
            if kind in (_OPERATORS.ADD, _OPERATORS.SUB) and self._has_grid(one.outputs[0]):
                self._options(one, kind).potScaleInt16 = False
            self._keep_zero_end(one, kind)
        self.graph.operators = self.operators
        for index, tensor in enumerate(self.graph.tensors):
            if self._has_grid(index) and index not in weights:
                self._widen(tensor, constant=self._is_constant(index))
        for one in self.graph.operators:
            if any(
                self.graph.tensors[index].type == _TYPES.INT16 for index in (*one.inputs, *one.outputs) if index >= 0
            ):
                one.opcodeIndex = self._code(self._kind(one), _KERNELS.get(self._kind(one), 1))

    def _compute_in_float(self, one: Any) -> None:
        """Let an operator read and make floats."""
        for position, index in enumerate(one.inputs):
            if index >= 0 and self._has_grid(index):
                one.inputs[position] = self._floats(index)
                self._add(_OPERATORS.DEQUANTIZE, index, one.inputs[position])
        self.operators.append(one)
        for position, index in enumerate(one.outputs):
            if self._has_grid(index):
                one.outputs[position] = self._floats(index)
                self._add(_OPERATORS.QUANTIZE, one.outputs[position], index)

    def _keep_zero_end(self, one: Any, kind: int) -> None:
        """Let what ends at zero in 8 bits end there in 16, whose grids are symmetric: a rectifier is lost in the file otherwise."""
        index = int(one.outputs[0])
        if not self._has_grid(index) or self.graph.tensors[index].quantization.zeroPoint[0] != -128:
            return
        if kind in _WITH_RECTIFIER:
            options = self._options(one, kind)
            if options.fusedActivationFunction == _FUSED.NONE:
                options.fusedActivationFunction = _FUSED.RELU
        elif kind in (_OPERATORS.TRANSPOSE_CONV, _OPERATORS.QUANTIZE):
            self.graph.tensors.append(self._copy(index))
            one.outputs[0] = len(self.graph.tensors) - 1
            self._add(_OPERATORS.RELU, one.outputs[0], index)

    def _widen_bias(self, one: Any, data: int, weight: int, bias: int) -> None:
        """Give a bias the scale that belongs to the new grid of the data, and 64 bits."""
        if len(one.inputs) <= bias or one.inputs[bias] < 0 or not self._has_grid(data):
            return
        tensors = self.graph.tensors
        before = tensors[one.inputs[bias]]
        steps = np.asarray(self.model.buffers[before.buffer].data, np.uint8).view(np.int32)
        floats = steps * np.asarray(before.quantization.scale, np.float64)
        scale = _scale(tensors[data]) * np.asarray(tensors[one.inputs[weight]].quantization.scale, np.float64)
        made = self._copy(int(one.inputs[bias]))
        made.type, made.buffer = _TYPES.INT64, self._buffer(np.round(floats / scale).astype(np.int64))
        made.quantization = _grid(scale)
        tensors.append(made)
        one.inputs[bias] = len(tensors) - 1

    def _widen(self, tensor: Any, constant: bool) -> None:
        before, scale = tensor.quantization, _scale(tensor)
        if constant:
            integers = np.asarray(self.model.buffers[tensor.buffer].data, np.uint8).view(np.int8).astype(np.float64)
            floats = (integers - before.zeroPoint[0]) * before.scale[0]
            tensor.buffer = self._buffer(np.clip(np.round(floats / scale), -_LEVELS, _LEVELS).astype(np.int16))
        tensor.type, tensor.quantization = _TYPES.INT16, _grid(np.array([scale]))

    def _kind(self, one: Any) -> int:
        code = self.model.operatorCodes[one.opcodeIndex]
        return max(code.builtinCode, code.deprecatedBuiltinCode)

    def _has_grid(self, index: int) -> bool:
        tensor = self.graph.tensors[index]
        return tensor.type == _TYPES.INT8 and tensor.quantization is not None and tensor.quantization.scale is not None

    def _is_constant(self, index: int) -> bool:
        data = self.model.buffers[self.graph.tensors[index].buffer].data
        return data is not None and len(data) > 0

    def _options(self, one: Any, kind: int) -> Any:
        """Return the options of an operator, which are made if it has none."""
        if one.builtinOptions is None:
            name = {_OPERATORS.ADD: "Add", _OPERATORS.SUB: "Sub", _OPERATORS.MUL: "Mul"}[kind]
            one.builtinOptions = getattr(schema, f"{name}OptionsT")()
            one.builtinOptionsType = getattr(schema.BuiltinOptions, f"{name}Options")
        return one.builtinOptions

    def _copy(self, index: int) -> Any:
        source, made = self.graph.tensors[index], schema.TensorT()
        made.shape, made.shapeSignature, made.hasRank = source.shape, source.shapeSignature, source.hasRank
        made.type, made.name, made.buffer = source.type, source.name + b"/wide", 0
        made.quantization = source.quantization
        return made

    def _floats(self, index: int) -> int:
        """Add a tensor of floats with the shape of another one; return its index."""
        made = self._copy(index)
        made.type, made.quantization = _TYPES.FLOAT32, None
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def _buffer(self, array: np.ndarray) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def _add(self, kind: int, source: int, made: int) -> None:
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(kind, _KERNELS[kind])
        operator.inputs, operator.outputs = np.array([source], np.int32), np.array([made], np.int32)
        self.operators.append(operator)

    def _code(self, kind: int, version: int) -> int:
        """Return the position of the code of an operator of a version at least, which is added if it is not there."""
        codes = self.model.operatorCodes
        for position, code in enumerate(codes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == kind and code.version >= version:
                return position
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = kind, min(kind, _LAST_OLD_CODE), version
        codes.append(code)
        return len(codes) - 1


def _scale(tensor: Any) -> float:
    """Return the scale of 16 bits for a tensor of 8: its levels reach as far from zero."""
    scale, zero_point = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
    return _FIXED.get((scale, zero_point), scale * max(127 - zero_point, zero_point + 128) / _LEVELS)


def _grid(scale: np.ndarray) -> Any:
    made = schema.QuantizationParametersT()
    made.scale, made.zeroPoint = scale.astype(np.float32), np.zeros(scale.size, np.int64)
    made.quantizedDimension = 0
    return made
