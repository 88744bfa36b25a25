"""The inputs and outputs of a TensorFlow Lite file as integers.

A file is converted with inputs and outputs of float32, and those on a grid are made integers here. The converter would do it by
taking away what turns them into integers, also from operations that read them as floats: such a file cannot run, and ends the
process of some that read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

__all__ = ["with_integer_ends"]

_TYPES = schema.TensorType
_OPERATORS = schema.BuiltinOperator
#: Of the schema of files: the versions of the operators that take every type that is written here.
_VERSION = 2
#: How far apart the zero points of one grid are in uint8 and in int8.
_OFFSET = 128


def with_integer_ends(content: bytes, io_type: str) -> bytes:
    """Return a file whose inputs and outputs are integers, where the file turns floats into integers, or back.

    Args:
        content: a file with inputs and outputs of float32. An input that several operations put on different grids gets the widest.
        io_type: ``"int8"``, ``"uint8"`` or ``"int16"``.

    Returns:
        The file. What has no grid stays float32.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    ends = _Ends(model, model.subgraphs[0], unsigned=io_type == "uint8", wide=io_type == "int16")
    for position, index in enumerate(list(ends.graph.inputs)):
        ends.make_input(position, int(index))
    for position, index in enumerate(list(ends.graph.outputs)):
        ends.make_output(position, int(index))
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


class _Ends:
    """Changes the ends of the main graph of a file.

    Args:
        model: the file, as TensorFlow's classes of the schema; it is changed in place.
        graph: its main graph.
        unsigned: whether ends are uint8.
        wide: whether ends are int16.
    """

    def __init__(self, model: Any, graph: Any, unsigned: bool, wide: bool):
        self.model, self.graph, self.unsigned = model, graph, unsigned
        self.kind = _TYPES.INT16 if wide else _TYPES.INT8

    def make_input(self, position: int, index: int) -> None:
        """Let an input be an integer, if something puts it on a grid; others read its value in floating point."""
        quantizers = [one for one in self._readers(index) if self._is_a(one, _OPERATORS.QUANTIZE) and self._fits(one)]
        if self.graph.tensors[index].type != _TYPES.FLOAT32 or not quantizers:
            return
        widest = max(quantizers, key=lambda one: self._scale(one.outputs[0]))
        integers = int(widest.outputs[0])
        self.graph.operators.remove(widest)
        others = self._readers(index)
        if any(self._is_a(one, _OPERATORS.QUANTIZE) for one in others):
            for one in [one for one in others if self._is_a(one, _OPERATORS.QUANTIZE)]:
                one.inputs[0] = integers
            others = self._readers(index)
        if others or index in self.graph.outputs:
            self._add(_OPERATORS.DEQUANTIZE, integers, index, first=True)
        end = self._unsigned(integers) if self.unsigned else integers
        if self.unsigned:
            self._add(_OPERATORS.QUANTIZE, end, integers, first=True)
        self._name_as(end, index)
        self._replace(self.graph.inputs, position, end, "inputs", index)

    def make_output(self, position: int, index: int) -> None:
        """Let an output be the integers that it is made of, if it is made of such."""
        makers = [one for one in self.graph.operators if index in one.outputs]
        if not makers or not self._is_a(makers[0], _OPERATORS.DEQUANTIZE):
            return
        [maker] = makers
        integers = int(maker.inputs[0])
        if self.graph.tensors[integers].type != self.kind:
            return
        taken = {*map(int, self.graph.inputs), *map(int, self.graph.outputs)}
        end = integers
        if self.unsigned or integers in taken:
            end = self._unsigned(integers) if self.unsigned else self._like(integers)
            self._add(_OPERATORS.QUANTIZE, integers, end)
        if not self._readers(index) and list(map(int, self.graph.outputs)).count(index) == 1:
            self.graph.operators.remove(maker)
        self._name_as(end, index)
        self._replace(self.graph.outputs, position, end, "outputs", index)

    def _readers(self, index: int) -> list[Any]:
        return [one for one in self.graph.operators if index in one.inputs]

    def _is_a(self, operator: Any, kind: int) -> bool:
        code = self.model.operatorCodes[operator.opcodeIndex]
        return max(code.builtinCode, code.deprecatedBuiltinCode) == kind

    def _fits(self, quantizer: Any) -> bool:
        return self.graph.tensors[quantizer.outputs[0]].type == self.kind

    def _scale(self, index: int) -> float:
        return float(self.graph.tensors[index].quantization.scale[0])

    def _like(self, index: int) -> int:
        """Add a tensor with the shape, the type and the grid of another one; return its index."""
        source, made = self.graph.tensors[index], schema.TensorT()
        made.shape, made.shapeSignature, made.hasRank = source.shape, source.shapeSignature, source.hasRank
        made.type, made.name, made.buffer = source.type, source.name, 0
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale = np.asarray(source.quantization.scale, np.float32)
        made.quantization.zeroPoint = np.asarray(source.quantization.zeroPoint, np.int64)
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def _unsigned(self, index: int) -> int:
        """Add a tensor of uint8 with the grid of one of int8; return its index."""
        made = self._like(index)
        self.graph.tensors[made].type = _TYPES.UINT8
        self.graph.tensors[made].quantization.zeroPoint = self.graph.tensors[made].quantization.zeroPoint + _OFFSET
        return made

    def _add(self, kind: int, source: int, made: int, first: bool = False) -> None:
        """Add an operator, before all others or behind them."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(kind)
        operator.inputs, operator.outputs = np.array([source], np.int32), np.array([made], np.int32)
        self.graph.operators.insert(0 if first else len(self.graph.operators), operator)

    def _code(self, kind: int) -> int:
        """Return the position of the code of an operator, which is added if it is not there."""
        codes = self.model.operatorCodes
        for position, code in enumerate(codes):
            if code.builtinCode == kind and code.version >= _VERSION:
                return position
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        code.version = _VERSION
        codes.append(code)
        return len(codes) - 1

    def _name_as(self, end: int, before: int) -> None:
        """Give the name of the tensor that was at an end to the one that is there now."""
        tensors = self.graph.tensors
        tensors[end].name, tensors[before].name = tensors[before].name, tensors[before].name + b"/floats"

    def _replace(self, ends: Any, position: int, end: int, side: str, before: int) -> None:
        ends[position] = end
        for signature in self._signatures():
            for one in getattr(signature, side):
                if one.tensorIndex == before:
                    one.tensorIndex = end

    def _signatures(self) -> Iterator[Any]:
        signatures: Sequence[Any] = self.model.signatureDefs or ()
        yield from (one for one in signatures if one.subgraphIndex == 0)
