"""Quantization in ONNX graphs: activations between QuantizeLinear and DequantizeLinear, weights as integers behind the latter.

The graph comes from tf2onnx, whose own conversion of fake quantization covers less and folds weights into floating
point.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from keras_compress.errors import ExportError
from keras_compress.export.graph_editing import GraphEditor
from keras_compress.export.onnx_einsum import convert_einsum
from keras_compress.export.onnx_moves import MOVES
from keras_compress.export.quantized_constants import FAKE_QUANTIZERS, IntegerConstant, grid

__all__ = ["activation_handlers", "put_constants", "refuse_other_grids"]


def activation_handlers(activation_type: str = "uint8") -> dict[str, tuple[Any, list]]:
    """Return what tells tf2onnx how to convert fake quantizers of activations, and what else it cannot convert.

    Args:
        activation_type: ``"uint8"`` (default), or ``"int8"`` with zero point 0, which only signed symmetric grids have.
    """
    return {
        **dict.fromkeys(FAKE_QUANTIZERS, (partial(_convert_activation, int8=activation_type == "int8"), [])),
        "Erfc": (_convert_erfc, []),
        "Einsum": (convert_einsum, []),
        "Conv3D": (_convert_volumes, []),
    }


def _convert_volumes(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Write a convolution of volumes, with as many groups as its inputs have channels for; tf2onnx takes it for one group."""
    from tf2onnx.onnx_opset.nn import ConvOp

    inputs, kernel = (context.get_shape(node.input[index]) for index in (0, 1))
    ConvOp.any_version(context.opset, context, node)
    if inputs is not None and kernel is not None and inputs[-1] > 0:
        node.set_attr("group", inputs[-1] // kernel[-2])


def _convert_erfc(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Write ``erfc(x)``, which ONNX does not have, as ``1 - erf(x)``."""
    shape, dtype = context.get_shape(node.output[0]), context.get_dtype(node.output[0])
    source, output = node.input[0], node.output[0]
    context.remove_node(node.name)
    erf = context.make_node("Erf", [source], name=f"{name}/erf", shapes=[shape], dtypes=[dtype])
    one = context.make_const(f"{name}/one", np.float32(1))
    context.make_node(
        "Sub", [one.output[0], erf.output[0]], name=name, outputs=[output], shapes=[shape], dtypes=[dtype]
    )


def _convert_activation(context: Any, node: Any, name: str, arguments: Any, *, int8: bool) -> None:
    """Write a fake quantizer as a pair of operations on integers, with a Clip in front where it has fewer levels."""
    low, high = (np.asarray(node.inputs[index].get_tensor_value(as_list=False), np.float32) for index in (1, 2))
    bits, narrow = node.get_attr_value("num_bits"), bool(node.get_attr_value("narrow_range"))
    scale, zero_point, steps = grid(low, high, bits, narrow_range=narrow)
    integers: Any = np.uint8
    if int8:
        integers, zero_point = np.int8, zero_point - _middle(bits, narrow)
    source, output = node.input[0], node.output[0]
    shape, dtype = context.get_shape(output), context.get_dtype(output)
    attributes = {"axis": len(shape) - 1} if scale.ndim else {}
    context.remove_node(node.name)
    if steps < 255:
        ends = [context.make_const(f"{name}/{end}", value).output[0] for end, value in (("low", low), ("high", high))]
        kinds = [("Max", ends[0]), ("Min", ends[1])] if scale.ndim else [("Clip", None)]
        for kind, end in kinds:
            inputs = [source, *(ends if end is None else [end])]
            source = context.make_node(kind, inputs, name=f"{name}/{kind}", shapes=[shape], dtypes=[dtype]).output[0]
    parameters = [
        context.make_const(f"{name}/scale", scale).output[0],
        context.make_const(f"{name}/zero_point", zero_point.astype(integers)).output[0],
    ]
    quantized = context.make_node(
        "QuantizeLinear",
        [source, *parameters],
        attributes,
        name=f"{name}/quantize",
        shapes=[shape],
        dtypes=[3 if integers is np.int8 else 2],
    )
    context.make_node(
        "DequantizeLinear",
        [quantized.output[0], *parameters],
        attributes,
        name=f"{name}/dequantize",
        outputs=[output],
        shapes=[shape],
        dtypes=[dtype],
    )


def _middle(bits: int, narrow: bool) -> int:
    """Return the zero point of a grid that is symmetric around zero."""
    return 2 ** (bits - 1) - (1 if narrow else 0)


def refuse_other_grids(graph_def: Any) -> None:
    """Refuse quantizers of activations whose zero point would not be 0 on int8.

    Args:
        graph_def: the graph, its constants cut out.

    Raises:
        ExportError: there is one; the message names it.
    """
    editor = GraphEditor(graph_def)
    for node in graph_def.node:
        if node.op not in FAKE_QUANTIZERS:
            continue
        bits, narrow = node.attr["num_bits"].i, node.attr["narrow_range"].b
        _, zero_point, _ = grid(editor.constant(node, 1), editor.constant(node, 2), bits, narrow_range=narrow)
        middle = _middle(bits, narrow)
        if np.any(zero_point != middle):
            name = "/".join(part for part in node.name.split("/")[1:] if part not in FAKE_QUANTIZERS)
            raise ExportError(
                f"The quantizer '{name}' has a grid that is not symmetric around zero, and int8 activations with zero point 0 "
                f"are. Expected: the zero point {middle}. Received: {np.unique(zero_point).tolist()}. Compress the model with "
                '"activations": {"mode": "symmetric", "signed": true}, or export with activation_type="uint8".'
            )


def put_constants(graph: Any, constants: Sequence[IntegerConstant], *, four_bits: bool = False) -> None:
    """Replace the placeholders of constants in an ONNX graph by integers and DequantizeLinear nodes, in place.

    What only moves the numbers of a constant, as a transposition, is carried out, so that the operation that computes
    with them directly follows.

    Args:
        graph: of the ONNX model.
        constants: by the names of their placeholders.
        four_bits: store integers of up to four bits as int4. Default False: as int8.
    """
    import onnx

    inputs: Any = {value.name: value for value in graph.input}
    added: list[Any] = []
    stored: dict[tuple, list[str]] = {}
    for constant in constants:
        graph.input.remove(inputs[constant.name])
        waiting = [(constant.name, constant)]
        for name, present in waiting:
            readers = [node for node in graph.node if name in node.input]
            moves = {node.output[0]: _moved(graph, node, present) for node in readers if node.input[0] == name}
            moved = {output: result for output, result in moves.items() if result is not None}
            for node in readers:
                if node.output[0] in moved:
                    graph.node.remove(node)
            waiting += moved.items()
            if len(moved) < len(readers):
                products = any(node.op_type == "MatMul" for node in readers) and present.values.ndim > 2
                if products and present.scale.size > 1:
                    added += _multiplied(onnx, graph, name, present)
                else:
                    added += _dequantize(onnx, graph, name, present, four_bits, stored)
    for node in reversed(added):
        graph.node.insert(0, node)


def _moved(graph: Any, node: Any, constant: IntegerConstant) -> IntegerConstant | None:
    """Return the constant after an operation that only moves its numbers, None after any other."""
    from onnx.reference import ReferenceEvaluator

    known = {value.name for value in graph.initializer}
    if node.op_type not in MOVES or any(name not in known for name in node.input[1:]):
        return None
    others: Any = {name: _array(graph, name) for name in node.input[1:]}
    evaluator: Any = ReferenceEvaluator(node)
    moved = constant.moved(lambda values: evaluator.run(None, {node.input[0]: values, **others})[0])
    return moved if moved.has_axis() else None


def _array(graph: Any, name: str) -> np.ndarray:
    from onnx import numpy_helper

    return numpy_helper.to_array(next(value for value in graph.initializer if value.name == name))


def _dequantize(
    onnx: Any, graph: Any, name: str, constant: IntegerConstant, four_bits: bool, stored: dict[tuple, list[str]]
) -> list[Any]:
    """Add the initializers of a constant to a graph; return the node that makes the tensor ``name`` from them.

    ``stored`` holds the names of initializers by their content, so that equal ones are stored once.
    """
    axis, values = constant.axis(), constant.values
    scale, zero_point = constant.scale, constant.zero_point.astype(values.dtype)
    if axis is None:
        scale, zero_point = scale.reshape(()), zero_point.reshape(())
    if four_bits and values.dtype == np.int8 and values.min() >= -8 and values.max() <= 7:
        values, zero_point = (array.astype(ml_dtypes.int4) for array in (values, zero_point))
    names = [f"{name}/{part}" for part in ("quantized", "scale", "zero_point")]
    arrays = [np.ascontiguousarray(array) for array in (values, scale, zero_point)]
    content = (values.shape, *(array.tobytes() for array in arrays))
    if content in stored:  # a layer that is called twice
        names = stored[content]
    else:
        stored[content] = names
        graph.initializer.extend(onnx.numpy_helper.from_array(*pair) for pair in zip(arrays, names, strict=True))
    attributes = {} if axis is None else {"axis": axis}
    return [onnx.helper.make_node("DequantizeLinear", names, [name], name=f"{name}/dequantize", **attributes)]


def _multiplied(onnx: Any, graph: Any, name: str, constant: IntegerConstant) -> list[Any]:
    """Add integers and scales of a constant to a graph; return the nodes that multiply them.

    ONNX Runtime would make an integer product of a stack of matrices behind DequantizeLinear, and fail when it runs it.
    OpenVINO would compute wrong numbers; behind a product whose first operand is the scale it computes in floating point.
    """
    shape = [-1 if position == constant.axis() else 1 for position in range(constant.values.ndim)]
    parts = {"quantized": constant.values, "scale": constant.scale.reshape(shape)}
    parts["zero_point"] = constant.zero_point.reshape(shape).astype(np.float32)
    names = {part: f"{name}/{part}" for part in parts}
    for part, array in parts.items():
        graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), names[part]))
    make = onnx.helper.make_node
    return [
        make("Cast", [names["quantized"]], [f"{name}/float"], name=f"{name}/cast", to=onnx.TensorProto.FLOAT),
        make("Sub", [f"{name}/float", names["zero_point"]], [f"{name}/centered"], name=f"{name}/center"),
        make("Mul", [names["scale"], f"{name}/centered"], [name], name=f"{name}/multiply"),
    ]
