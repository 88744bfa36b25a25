"""Export to ONNX with standard operations: integers between QuantizeLinear and DequantizeLinear, everything else as it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress._threads import CONVERTERS
from keras_compress.arguments import whole_number
from keras_compress.errors import ExportError, short_repr
from keras_compress.export.constant_branches import take_constant_branches
from keras_compress.export.factors_of_both_signs import write_signs_apart
from keras_compress.export.foreign_errors import explained
from keras_compress.export.format import Format, TensorNames
from keras_compress.export.frozen_graph import freeze, tensor_names
from keras_compress.export.inference_model import inference_model, with_quantized_outputs
from keras_compress.export.inline_calls import inline_calls
from keras_compress.export.input_signature import InputShapes
from keras_compress.export.onnx_dense_layers import join_dense_layers
from keras_compress.export.onnx_loops import keep_quantizers_out_of_loops
from keras_compress.export.onnx_moves import quantize_in_front_of_moves, quantize_in_front_of_transpositions
from keras_compress.export.onnx_quantization import activation_handlers, put_constants, refuse_other_grids
from keras_compress.export.onnx_reproducible import make_reproducible
from keras_compress.export.quantized_constants import cut_out_constants
from keras_compress.export.registry import register_format
from keras_compress.export.reproducible_graph import make_reproducible as make_graph_reproducible
from keras_compress.export.reproducible_graph import merge_equal_nodes, serialized
from keras_compress.export.runtimes.onnx_runtime import load, open_file, stored_weights
from keras_compress.files import write_file
from keras_compress.graph.passes.fit_biases import fit_biases
from keras_compress.graph.passes.fold_batch_norm import fold_batch_norm
from keras_compress.graph.variables import leaf_layers

__all__ = ["export_onnx"]

#: The oldest and newest version of the operators that files are written with.
OPSET, NEWEST_OPSET = 13, 21
#: The version that has a type of four bits.
FOUR_BITS_SINCE = 21


def export_onnx(
    model: keras.Model,
    path: str | Path,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    batch_size: int | None = None,
    input_shapes: InputShapes | None = None,
    opset: int = OPSET,
    calibration_data: Any = None,
    activation_type: Literal["uint8", "int8"] = "uint8",
) -> Path:
    """Write ``model`` as an ONNX file.

    Quantized weights are stored as int8, one scale per channel, with batch normalization folded into them; activations
    pass a QuantizeLinear and a DequantizeLinear of uint8. Weights of fewer bits are stored as int8 on fewer levels, as
    int4 from opset 21 on. Binary activations become a comparison and a multiplication, binary weights constants of two
    values per channel, stored as float32: ONNX has no type of one bit.

    Args:
        model: the compressed model; it is only read.
        path: the ``.onnx`` file to write.
        input_names, output_names, batch_size, input_shapes: as in :func:`~keras_compress.export.frozen_graph.export_frozen_graph`.
        opset: version of the operators, 13 to 21. Default 13.
        calibration_data: samples, as for ``kc.Dataset``. ONNX Runtime computes a convolution in integers only if its
            output is quantized too; where training left it in floating point, as in front of a sum, the range is
            measured on them. In front of a recurrent layer it stays in floating point: over many steps such a layer makes
            much of a small error.
            Default: none, such convolutions are stored as integers and computed in floating point there.

        activation_type: type of quantized activations. Default uint8, which holds every grid. TensorRT takes int8 with zero
            point 0 alone: grids of ``"mode": "symmetric", "signed": true``. Ranges measured for the file are
            symmetric then, too.

    Returns:
        The path of the file.

    Raises:
        ExportError: a package is missing, the opset is out of range, a grid has no place in ``activation_type``, or
            as for the frozen graph.
    """
    try:
        import onnx
        import tf2onnx
    except ImportError:
        raise ExportError("Writing ONNX files needs two packages: pip install tf2onnx onnx") from None
    newest = max(tf2onnx.constants.OPSET_TO_IR_VERSION)
    opset = whole_number("opset", opset, OPSET, NEWEST_OPSET, ExportError)
    if not isinstance(activation_type, str) or activation_type not in ("uint8", "int8"):
        raise ExportError(
            "Activations are uint8 or int8. Expected: one of these for 'activation_type'. Received: "
            f"activation_type={short_repr(activation_type)}. Choose one of them."
        )
    names = tensor_names(model, input_names, output_names)
    layers = [name for name, _ in leaf_layers(model)]
    complete = (
        model
        if calibration_data is None
        else with_quantized_outputs(
            model,
            calibration_data,
            of_matrix_products=False,
            into_recurrent_layers=False,
            symmetric=activation_type == "int8",
        )
    )
    graph_def = _graph(inference_model(complete, fold_batch_norm, fit_biases), names, batch_size, input_shapes)
    constants = cut_out_constants(graph_def)
    if activation_type == "int8":
        refuse_other_grids(graph_def)
    inputs = (*names.inputs, *(constant.name for constant in constants))
    with _converting(path, layers):
        converted, _ = tf2onnx.convert.from_graph_def(
            graph_def,
            input_names=[f"{name}:0" for name in inputs],
            output_names=[f"{name}:0" for name in names.outputs],
            opset=min(opset, newest),
            custom_op_handlers=activation_handlers(activation_type),
            tensors_to_rename={f"{name}:0": name for name in (*inputs, *names.outputs)},
        )
    if opset > newest:
        converted = onnx.version_converter.convert_version(converted, opset)
    put_constants(converted.graph, constants, four_bits=opset >= FOUR_BITS_SINCE)
    _arrange(converted)
    for value, tensor in zip(converted.graph.output, model.outputs, strict=True):
        _state_shape(value, [batch_size or tensor.shape[0], *tensor.shape[1:]])
    converted.producer_name = "keras_compress"
    with _converting(path, layers):
        onnx.checker.check_model(converted)
    return write_file(path, serialized(converted))


def _graph(
    model: keras.Model, names: TensorNames, batch_size: int | None, input_shapes: InputShapes | None
) -> tf.compat.v1.GraphDef:
    """Return the graph of a model for inference, as the converter takes it."""
    graph_def = freeze(model, names, batch_size=batch_size, input_shapes=input_shapes, lower_control_flow=False)
    inline_calls(graph_def)
    take_constant_branches(graph_def)
    write_signs_apart(graph_def)
    make_graph_reproducible(graph_def, names.inputs, names.outputs)
    merge_equal_nodes(graph_def, (*names.inputs, *names.outputs))
    return graph_def


def _arrange(converted: Any) -> None:
    """Bring quantizers and dense layers of a converted model to the places where runtimes look for them, in place."""
    quantize_in_front_of_moves(converted.graph)
    quantize_in_front_of_transpositions(converted.graph)
    del converted.graph.value_info[:]  # types and shapes of tensors that are no longer what they were
    join_dense_layers(converted)
    keep_quantizers_out_of_loops(converted.graph)
    make_reproducible(converted)


def _state_shape(value: Any, shape: Sequence[int | None]) -> None:
    """Give an output whose shape the converter has lost the one that Keras knows, in place."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        for axis, size in enumerate(shape):
            entry = tensor.shape.dim.add()
            if size is None:
                entry.dim_param = f"{value.name}_{axis}"
            else:
                entry.dim_value = size


@contextmanager
def _converting(path: str | Path, layers: Sequence[str]) -> Iterator[None]:
    """Keep the converter's notes on its own workings off the screen, and name the file in its errors."""
    logger = logging.getLogger("tf2onnx")
    problem = f"The model cannot be converted to ONNX for '{path}'"
    way_out = "Write the operations that ONNX lacks with others, or choose another format."
    with CONVERTERS:
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            with explained(problem, way_out, layers):
                yield
        finally:
            logger.setLevel(level)


register_format(
    Format(
        "onnx",
        ".onnx",
        export_onnx,
        stored_weights,
        load,
        passes=(fold_batch_norm, fit_biases),
        open=open_file,
        runtime="onnxruntime",
        isolated="onnx_runtime",
    )
)
