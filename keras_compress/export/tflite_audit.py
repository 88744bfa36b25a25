"""Reading TensorFlow Lite files: the constants that may be weights, and in what type the operations compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.errors import ExportError
from keras_compress.export.runtimes.run import MissingRuntime
from keras_compress.export.stored_weight import StoredWeight

__all__ = ["dequantized_tensor", "in_order", "open_interpreter", "require_litert", "stored_in_tflite"]

_COMPUTES = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "CONV_3D", "BATCH_MATMUL")
#: XNNPACK computes a product of integers only if its scale is less than this many times that of the result.
LARGEST_RATIO = 256
_FROM_INTEGERS = ("DEQUANTIZE", "SLICE", "CAST", "SUB", "MUL", "RESHAPE", "TRANSPOSE")
_MOVES = ("DEQUANTIZE", "RESHAPE", "TRANSPOSE", "PAD", "SQUEEZE", "EXPAND_DIMS", "MAX_POOL_2D", "STRIDED_SLICE")


def require_litert() -> Any:
    """Return the module of the interpreter.

    Raises:
        MissingRuntime: it is not installed.
    """
    try:
        from ai_edge_litert import interpreter
    except ImportError:
        raise MissingRuntime("TensorFlow Lite files are read back with a package: pip install ai-edge-litert") from None
    return interpreter


def open_interpreter(path: Path, threads: int, **options: Any) -> Any:
    """Return an interpreter of a file; 0 threads for as many as it likes."""
    return require_litert().Interpreter(str(path), num_threads=threads or None, **options)


def in_order(details: Sequence[dict], names: Sequence[str] | None) -> list[dict]:
    """Return tensors in the order of ``names``, if the file has kept them."""
    by_name = {tensor["name"].partition(":")[0]: tensor for tensor in details}
    return [by_name[name] for name in names] if names and set(names) == set(by_name) else list(details)


def stored_in_tflite(path: Path) -> list[StoredWeight]:
    """Return the constants of a file; integers dequantized.

    Raises:
        ExportError: a runtime refuses the file.
    """
    plain = require_litert().OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = open_interpreter(path, 1, experimental_op_resolver_type=plain)
    _allocate(interpreter, path, "without delegates")
    _allocate(open_interpreter(path, 1), path, "with XNNPACK, as on phones")
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
        every = _plain(index, array, operations, interpreter, made) or [dequantized_tensor(tensor, array)]
        computing = [operation for operation in _readers(index, operations) if operation["op_name"] in _COMPUTES]
        data = [operation["inputs"][_data_input(operation)] for operation in computing]
        integers = all(details[one]["dtype"] != np.float32 for one in data)
        reads = all(_is_on_grid(one, details, operations) for one in data) if computing else None
        stored_as = np.dtype(tensor["dtype"]).name
        on_grid = stored_as != "float32"
        runs = None if reads is None else on_grid and integers
        found += [StoredWeight(tensor["name"], values, stored_as, size, on_grid, reads, runs) for values in every]
    return found


def _allocate(interpreter: Any, path: Path, how: str) -> None:
    """Let an interpreter prepare a file to be run.

    Raises:
        ExportError: it refuses. The message has its reason, and the sizes or scales that are the likely cause.
    """
    try:
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().rstrip(".")
        open_inputs = [
            f"'{tensor['name'].partition(':')[0]}' {tuple(int(size) for size in tensor['shape_signature'])}"
            for tensor in interpreter.get_input_details()
            if (np.array(tensor["shape_signature"])[1:] < 0).any()
        ]
        advice = ["Leave the layer that it names in floating point, or choose another format."]
        if open_inputs:
            advice = [
                f"The inputs {', '.join(open_inputs)} have open sizes (-1), with which TensorFlow Lite cannot prepare it: pass "
                "input_shapes=… to fix them, as {'x': (224, 224, 3)}."
            ]
        elif steep := _too_steep(interpreter):
            advice = [
                f"The scales of {', '.join(steep)} are more than {LARGEST_RATIO} times below those of what makes them, as after a "
                "training that diverged: measure these ranges again, or leave the layers in floating point."
            ]
        raise ExportError(f"TensorFlow Lite {how} refuses '{path}': {reason}. {' '.join(advice)}") from error


def _too_steep(interpreter: Any) -> list[str]:
    """Return the names of the tensors that XNNPACK cannot compute: scales of input times weights over that of the output."""
    details = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    found = []
    for operation in interpreter._get_ops_details():
        if operation["op_name"] in _COMPUTES:
            data, weight = operation["inputs"][_data_input(operation)], operation["inputs"][1]
            tensors = [details[index] for index in (data, weight, operation["outputs"][0])]
            one, other, out = (tensor["quantization_parameters"]["scales"] for tensor in tensors)
            if len(one) and len(other) and len(out) and float(one.max() * other.max() / out[0]) >= LARGEST_RATIO:
                found.append(f"'{tensors[2]['name']}'")
    return found


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


def _plain(index: int, array: np.ndarray, operations: list[dict], interpreter: Any, made: set[int]) -> list[np.ndarray]:
    """Return the floats that the graph computes from plain integers; several if equal integers with other scales are stored once."""
    found = []
    waiting: list[tuple[int, np.ndarray, tuple[str, ...]]] = [(index, array.astype(np.float32), ("SLICE", "CAST"))]
    for tensor, values, kinds in waiting:
        for reader in operations:
            if tensor not in reader["inputs"] or reader["op_name"] not in kinds:
                continue
            output, behind = reader["outputs"][0], values
            if reader["op_name"] == "RESHAPE":
                behind = values.reshape(interpreter._get_tensor_details(output, 0)["shape"])
            elif reader["op_name"] in ("SUB", "MUL"):
                other = interpreter.get_tensor(next(one for one in reader["inputs"] if one not in made))
                behind = values * other if reader["op_name"] == "MUL" else values - other
            if reader["op_name"] == "MUL":
                found.append(behind)
            else:
                waiting.append((output, behind, ("CAST", "RESHAPE", "SUB", "MUL")))
    return found


def _data_input(operation: dict) -> int:
    return 2 if operation["op_name"] == "TRANSPOSE_CONV" else 0


def dequantized_tensor(tensor: dict, array: np.ndarray) -> np.ndarray:
    """Return the dequantized values of a tensor, given its entry among the details of the interpreter."""
    scales, zero_points = (tensor["quantization_parameters"][key] for key in ("scales", "zero_points"))
    if not len(scales):
        return array
    axis = tensor["quantization_parameters"]["quantized_dimension"]
    shape = [-1 if len(scales) > 1 and position == axis else 1 for position in range(array.ndim)]
    return ((array.astype(np.int32) - zero_points.reshape(shape)) * scales.reshape(shape)).astype(np.float32)
