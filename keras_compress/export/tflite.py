"""Export to TensorFlow Lite: every compressed operation in int8."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.errors import ExportError
from keras_compress.export.atomic_file import write_atomically
from keras_compress.export.format import Format, Run, StoredWeight, TensorNames, in_batches_of
from keras_compress.export.frozen_graph import freeze, tensor_names
from keras_compress.export.inference_model import inference_model, with_quantized_outputs
from keras_compress.export.quantized_constants import FAKE_QUANTIZERS
from keras_compress.export.tflite_weights import arrange_weights
from keras_compress.graph.passes.dense_to_convolution import dense_to_convolution
from keras_compress.graph.passes.fold_batch_norm import fold_batch_norm

__all__ = ["FORMAT", "export_tflite"]


def export_tflite(
    model: keras.Model,
    path: str | Path,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    batch_size: int | None = None,
    calibration_data: Any = None,
    io_type: Literal["float32", "int8", "uint8"] = "float32",
) -> Path:
    """Write ``model`` as a TensorFlow Lite model.

    TensorFlow Lite computes from grid to grid: an operation runs in int8 only if its output is quantized too. Where
    training left an output in floating point, its range is measured on ``calibration_data``. Dense layers are written as convolutions
    of one pixel, which may have a scale per channel. Weights with enough zeros are stored sparsely if that is smaller.

    Args:
        model: the compressed model; it is only read.
        path: the ``.tflite`` file to write.
        input_names, output_names, batch_size: as in :func:`~keras_compress.export.frozen_graph.export_frozen_graph`.
        calibration_data: samples, as for ``kc.Dataset``. Without them operations with unknown output ranges stay in floating point.
        io_type: type of the inputs and outputs of the file. Default float32.

    Returns:
        The path of the file.

    Raises:
        ExportError: the converter refuses the model, or as for the frozen graph.
    """
    if io_type not in ("float32", "int8", "uint8"):
        raise ExportError(f"Inputs are float32, int8 or uint8. Received: io_type={io_type!r}. Choose one of them.")
    _litert()
    names = tensor_names(model, input_names, output_names)
    complete = model if calibration_data is None else with_quantized_outputs(model, calibration_data)
    inference = inference_model(complete, fold_batch_norm, dense_to_convolution)
    graph_def = freeze(inference, names, batch_size=batch_size, lower_control_flow=False)
    if batch_size is None and any(node.op.startswith("TensorList") for node in graph_def.node):
        warnings.warn(
            "TensorFlow Lite runs loops over time only for a fixed number of samples, so this file takes one at a time. For "
            "another number pass batch_size=….",
            stacklevel=2,
        )
        graph_def = freeze(inference, names, batch_size=1, lower_control_flow=False)
    arrange_weights(graph_def)
    write_atomically(Path(path), min(_converted(graph_def, names, io_type, path), key=len))
    return Path(path)


def _converted(graph_def: Any, names: Any, io_type: str, path: str | Path) -> Iterator[bytes]:
    """Yield the model with its weights stored densely, and sparsely where they have enough zeros."""
    imported = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
    tensors = [imported.graph.get_tensor_by_name(f"{name}:0") for name in (*names.inputs, *names.outputs)]
    function = imported.prune(tensors[: len(names.inputs)], tensors[len(names.inputs) :])
    # without quantizers the default optimization would quantize weights by itself
    quantize = ["DEFAULT"] if any(node.op in FAKE_QUANTIZERS for node in graph_def.node) else []
    for optimizations in (quantize, [*quantize, "EXPERIMENTAL_SPARSITY"]):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
        converter.optimizations = [getattr(tf.lite.Optimize, name) for name in optimizations]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
        if io_type != "float32":
            converter.inference_input_type = converter.inference_output_type = getattr(tf, io_type)
        try:
            with _quiet():
                yield bytes(converter.convert())
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise ExportError(f"TensorFlow Lite's converter refuses the model for '{path}': {reason[:500]}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's notes on its own workings off the screen; they go past Python, to the file descriptor."""
    kept, silent = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(silent)


def _litert() -> Any:
    try:
        from ai_edge_litert import interpreter
    except ImportError:
        raise ExportError("TensorFlow Lite files are read back with a package: pip install ai-edge-litert") from None
    return interpreter


def _interpreter(path: Path, threads: int, **options: Any) -> Any:
    return _litert().Interpreter(str(path), num_threads=threads or None, **options)


def _stored_weights(path: Path) -> list[StoredWeight]:
    plain = _litert().OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = _interpreter(path, 1, experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    details = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    operations = interpreter._get_ops_details()
    made = {index for operation in operations for index in operation["outputs"]}
    made |= {tensor["index"] for tensor in interpreter.get_input_details()}
    found = []
    for index, tensor in details.items():
        constant = tensor["name"] and index not in made and len(tensor["shape"])
        if not constant or tensor["dtype"] not in (np.float32, np.int8, np.uint8):
            continue
        try:
            array = interpreter.get_tensor(index)
        except ValueError:  # memory for results, not a constant
            continue
        array, size = _dense(tensor, array), array.nbytes
        values = _plain(index, array, operations, interpreter, made)
        values = _dequantized(tensor, array) if values is None else values
        computing = [operation for operation in _readers(index, operations) if operation["op_name"] in _COMPUTES]
        data = [operation["inputs"][_data_input(operation)] for operation in computing]
        integers = all(details[one]["dtype"] != np.float32 for one in data)
        reads = all(_is_on_grid(one, details, operations) for one in data) if computing else None
        stored_as = np.dtype(tensor["dtype"]).name
        on_grid = stored_as != "float32"
        runs = None if reads is None else on_grid and integers
        found.append(StoredWeight(tensor["name"], values, stored_as, size, on_grid, reads, runs))
    return found


_COMPUTES = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "CONV_3D", "BATCH_MATMUL")
_FROM_INTEGERS = ("DEQUANTIZE", "SLICE", "CAST", "SUB", "MUL", "RESHAPE", "TRANSPOSE")
_MOVES = ("DEQUANTIZE", "RESHAPE", "TRANSPOSE", "PAD", "SQUEEZE", "EXPAND_DIMS", "MAX_POOL_2D", "STRIDED_SLICE")


def _dense(tensor: dict, stored: np.ndarray) -> np.ndarray:
    """Return a constant with its zeros; of one that is stored sparsely the interpreter gives only the rest."""
    sparsity = tensor["sparsity_parameters"]
    if not sparsity:
        return stored
    shape, order, blocks = tensor["shape"], sparsity["traversal_order"], sparsity["block_map"]
    positions: list[tuple[int, ...]] = [()]
    for level in sparsity["dim_metadata"]:
        if level["format"] == 0:
            positions = [(*before, index) for before in positions for index in range(level["dense_size"])]
        else:
            segments, indices = level["array_segments"], level["array_indices"]
            ends = zip(positions, segments[:-1], segments[1:], strict=True)
            positions = [(*before, int(index)) for before, start, end in ends for index in indices[start:end]]
    places: np.ndarray = np.array(positions).reshape(len(positions), -1)
    coordinates = np.zeros((len(positions), len(shape)), np.int64)
    for level, axis in enumerate(order):
        if axis < len(shape):
            coordinates[:, axis] += places[:, level]
    for level, axis in enumerate(order):
        if axis >= len(shape):  # inside a block
            target = blocks[axis - len(shape)]
            coordinates[:, target] *= sparsity["dim_metadata"][level]["dense_size"]
            coordinates[:, target] += places[:, level]
    dense = np.zeros(shape, stored.dtype)
    dense[tuple(coordinates.T)] = stored.reshape(-1)
    return dense


def _readers(index: int, operations: list[dict]) -> list[dict]:
    """Return the operations that read a tensor, or its numbers as floats."""
    readers = [operation for operation in operations if index in operation["inputs"]]
    floats = [operation["outputs"][0] for operation in readers if operation["op_name"] in _FROM_INTEGERS]
    return readers + [operation for output in floats for operation in _readers(output, operations)]


def _is_on_grid(index: int, details: dict, operations: list[dict]) -> bool:
    """Whether a tensor is of integers, or comes from one that is."""
    if details[index]["dtype"] != np.float32:
        return True
    makers = [operation for operation in operations if index in operation["outputs"]]
    return bool(makers) and makers[0]["op_name"] in _MOVES and _is_on_grid(makers[0]["inputs"][0], details, operations)


def _plain(
    index: int, array: np.ndarray, operations: list[dict], interpreter: Any, made: set[int]
) -> np.ndarray | None:
    """Return the floats that the graph makes of plain integers, None for a constant that is not stored so."""
    values = array.astype(np.float32)
    reader = _reader(index, ("SLICE", "CAST"), operations)
    while reader is not None:
        made_here = reader["outputs"][0]
        reader = _reader(made_here, ("CAST", "RESHAPE", "SUB", "MUL"), operations)
        if reader is None or reader["op_name"] == "CAST":
            continue
        if reader["op_name"] == "RESHAPE":
            values = values.reshape(interpreter._get_tensor_details(reader["outputs"][0], 0)["shape"])
            continue
        other = interpreter.get_tensor(next(one for one in reader["inputs"] if one not in made))
        if reader["op_name"] == "MUL":
            return values * other
        values = values - other
    return None


def _reader(index: int, kinds: Sequence[str], operations: list[dict]) -> dict | None:
    return next((one for one in operations if index in one["inputs"] and one["op_name"] in kinds), None)


def _data_input(operation: dict) -> int:
    return 2 if operation["op_name"] == "TRANSPOSE_CONV" else 0


def _dequantized(tensor: dict, array: np.ndarray) -> np.ndarray:
    scales, zero_points = (tensor["quantization_parameters"][key] for key in ("scales", "zero_points"))
    if not len(scales):
        return array
    axis = tensor["quantization_parameters"]["quantized_dimension"]
    shape = [-1 if len(scales) > 1 and position == axis else 1 for position in range(array.ndim)]
    return ((array.astype(np.int32) - zero_points.reshape(shape)) * scales.reshape(shape)).astype(np.float32)


def _load(path: Path, names: TensorNames | None, threads: int) -> Run:
    interpreter = _interpreter(path, threads)

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        inputs = _in_order(interpreter.get_input_details(), names.inputs if names else None)
        for tensor, array in zip(inputs, arrays, strict=True):
            if tuple(tensor["shape"]) != array.shape:
                interpreter.resize_tensor_input(tensor["index"], array.shape)
        interpreter.allocate_tensors()
        for tensor, array in zip(inputs, arrays, strict=True):
            interpreter.set_tensor(tensor["index"], _quantized(tensor, array))
        interpreter.invoke()
        outputs = _in_order(interpreter.get_output_details(), names.outputs if names else None)
        return [_dequantized(tensor, interpreter.get_tensor(tensor["index"])) for tensor in outputs]

    size = int(interpreter.get_input_details()[0]["shape_signature"][0])
    return run if size < 0 else in_batches_of(max(size, 1), run)


def _in_order(details: list[dict], names: Sequence[str] | None) -> list[dict]:
    """Return tensors in the order of ``names``, if the file has kept them."""
    by_name = {tensor["name"].partition(":")[0]: tensor for tensor in details}
    return [by_name[name] for name in names] if names and set(names) == set(by_name) else details


def _quantized(tensor: dict, array: np.ndarray) -> np.ndarray:
    if tensor["dtype"] == array.dtype:
        return array
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.round(array / scale) + zero_point, limits.min, limits.max).astype(tensor["dtype"])


FORMAT = Format(
    "tflite", ".tflite", export_tflite, _stored_weights, _load, passes=(fold_batch_norm, dense_to_convolution)
)
