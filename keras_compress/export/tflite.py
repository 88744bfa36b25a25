"""Export to TensorFlow Lite: compressed operations in int8 where their inputs and outputs are quantized.

TensorFlow's converter turns a kernel into int8, from the quantizer behind it in the graph; how the graph is arranged for
that, and what the converter cannot do, is in :mod:`~keras_compress.export.tflite_weights`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress._threads import ignored_warnings, silent_standard_error
from keras_compress.errors import ExportError
from keras_compress.export.dilated_convolutions import dilated_convolutions
from keras_compress.export.foreign_errors import reason_of
from keras_compress.export.format import Format, TensorNames
from keras_compress.export.frozen_graph import freeze, tensor_names
from keras_compress.export.graph_function import graph_function
from keras_compress.export.inference_model import inference_model, with_quantized_outputs
from keras_compress.export.inline_calls import inline_calls
from keras_compress.export.input_signature import InputShapes, input_signature
from keras_compress.export.isolated_converter import isolated_converter, start_converter, stored_sparsely
from keras_compress.export.quantized_constants import FAKE_QUANTIZERS
from keras_compress.export.refused_operations import refuse_grouped_volumes
from keras_compress.export.registry import register_format
from keras_compress.export.reversals_as_slices import reversals_as_slices
from keras_compress.export.rolls_as_slices import rolls_as_slices
from keras_compress.export.runtimes.tflite_runtime import load
from keras_compress.export.tflite_audit import open_interpreter, require_litert, stored_in_tflite
from keras_compress.export.tflite_ends import with_integer_ends
from keras_compress.export.tflite_float_parts import compute_in_float
from keras_compress.export.tflite_int16 import with_int16_activations
from keras_compress.export.tflite_interface import (
    file_tensors,
    lacking_operators,
    require_builtin_operators,
    require_types,
    warn_of_floats,
)
from keras_compress.export.tflite_joins import keep_grids_apart
from keras_compress.export.tflite_pooling import repeat_grids_before_pooling
from keras_compress.export.tflite_transposed import with_channel_scales
from keras_compress.export.tflite_weights import arrange_weights
from keras_compress.files import write_file
from keras_compress.graph.passes.dense_to_convolution import dense_to_convolution
from keras_compress.graph.passes.fit_biases import fit_biases
from keras_compress.graph.passes.fold_batch_norm import fold_batch_norm
from keras_compress.graph.variables import leaf_layers

__all__ = ["export_tflite"]

#: What can help where the converter dies of a model.
_AFTER_DEATH = (
    "Fix the batch with batch_size=1, keep the layers that it may have died of in floating point with 'ignored_scopes', or choose "
    "another format."
)
#: How the converter names an operation that it cannot convert.
_NOT_CONVERTED = re.compile(r"'tf\.(\w+)' op is neither")


def export_tflite(
    model: keras.Model,
    path: str | Path,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    batch_size: int | None = None,
    input_shapes: InputShapes | None = None,
    calibration_data: Any = None,
    io_type: Literal["float32", "int8", "uint8", "int16"] = "float32",
    activation_type: Literal["int8", "int16"] = "int8",
) -> Path:
    """Write ``model`` as a TensorFlow Lite model.

    TensorFlow Lite computes from grid to grid: an operation runs in int8 only if its output is quantized too. Where
    training left an output in floating point, its range is measured on ``calibration_data``. Dense layers are written
    as convolutions of one pixel, which may have a scale per channel. Weights with enough zeros are stored sparsely if
    that is smaller.

    Args:
        model: the compressed model; it is only read.
        path: the ``.tflite`` file to write.
        input_names, output_names, batch_size, input_shapes: as in :func:`~keras_compress.export.frozen_graph.export_frozen_graph`.
        calibration_data: samples, as for ``kc.Dataset``. Without them operations with unknown output ranges stay in
            floating point.
        io_type: type of the inputs and outputs of the file. Default float32. Outputs that no quantizer and no softmax, sigmoid or
            tanh makes get a grid that is measured on ``calibration_data``. A warning names what stays float32. The
            report has the scales and zero points. int16 needs activations of int16.
        activation_type: type of quantized activations. Default int8. int16 beside weights of int8 ("16x8") is more accurate:
            rounding errors of activations nearly vanish. Zero points are 0, and the kernels are slower. What LiteRT cannot
            compute in int16 is computed in floating point.

    Returns:
        The path of the file.

    Raises:
        ExportError: the converter refuses the model, or as for the frozen graph.
    """
    require_types(io_type, activation_type)
    require_litert()
    refuse_grouped_volumes(model, path)
    start_converter()
    names = tensor_names(model, input_names, output_names)
    signature = input_signature(model, batch_size, input_shapes, names.inputs)
    complete = model
    if calibration_data is not None:
        complete = with_quantized_outputs(model, calibration_data, of_model=io_type != "float32")
    inference = inference_model(complete, fold_batch_norm, fit_biases, dense_to_convolution)
    shapes: dict[str, Any] = {"batch_size": batch_size, "input_shapes": input_shapes}
    options: dict[str, Any] = {"lower_control_flow": False, "join_products": False}
    graph_def = freeze(inference, names, **shapes, **options)
    open_batch = any(spec.shape[0] is None for spec in signature)
    if open_batch and any(node.op.startswith("TensorList") for node in graph_def.node):
        warnings.warn(
            "TensorFlow Lite runs loops over time only for a fixed number of samples, so this file takes one at a time. For "
            "another number pass batch_size=….",
            stacklevel=2,
        )
        graph_def = freeze(inference, names, **{**shapes, "batch_size": 1}, **options)
    layers = [name for name, _ in leaf_layers(model)]
    inline_calls(graph_def)
    rolls_as_slices(graph_def)
    dilated_convolutions(graph_def)
    reversals_as_slices(graph_def)
    repeat_grids_before_pooling(graph_def)
    content = _arranged_and_converted(graph_def, names, path, layers, activation_type)
    require_builtin_operators(content, graph_def, path)
    if io_type != "float32":
        content = with_integer_ends(content, io_type)
        warn_of_floats(content, model, names, io_type)
    return write_file(path, content)


def _arranged_and_converted(
    graph_def: Any, names: TensorNames, path: str | Path, layers: Sequence[str], activation_type: str
) -> bytes:
    """Return the model with inputs and outputs of float32, and its weights stored sparsely where that is smaller."""
    in_float: list[str] = []
    while True:
        arranged = tf.compat.v1.GraphDef()
        arranged.CopyFrom(graph_def)
        transposed = arrange_weights(arranged, in_float)
        compute_in_float(arranged)
        keep_grids_apart(arranged)
        dense, missing = with_channel_scales(_converted(arranged, names, path, layers), transposed)
        if not missing:
            break
        in_float += missing
    if activation_type == "int16":
        return with_int16_activations(dense)
    sparse = stored_sparsely(dense)
    return dense if sparse is None else min(dense, sparse, key=len)


def _converted(graph_def: Any, names: TensorNames, path: str | Path, layers: Sequence[str]) -> bytes:
    """Return the file that the converter writes for a graph."""
    function = graph_function(graph_def, names.inputs, names.outputs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    # without quantizers the default optimization would quantize weights by itself
    quantized = any(node.op in FAKE_QUANTIZERS for node in graph_def.node)
    converter.optimizations = [tf.lite.Optimize.DEFAULT] if quantized else []
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    try:
        with isolated_converter(path, _AFTER_DEATH), silent_standard_error(), ignored_warnings():
            return bytes(converter.convert())
    except ExportError:
        raise
    except Exception as error:
        if foreign := sorted(set(_NOT_CONVERTED.findall(str(error)))):
            raise ExportError(lacking_operators(foreign, graph_def, path)) from error
        refused = f"TensorFlow Lite's converter refuses the model for '{path}'"
        way_out = "Write the operations that it lacks with others, or choose another format."
        raise ExportError(f"{refused}: {reason_of(error, layers)} {way_out}") from error


register_format(
    Format(
        "tflite",
        ".tflite",
        export_tflite,
        stored_in_tflite,
        load,
        passes=(fold_batch_norm, fit_biases, dense_to_convolution),
        open=open_interpreter,
        runtime="tflite",
        isolated="tflite_runtime",
        interface=file_tensors,
    )
)
