"""Files in LiteRT, with the delegate that a phone uses: what they hold, and what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.batch_rows import filled_up
from keras_compress.export.runtimes.run import Run, TensorNames, in_batches_of, in_float_type
from keras_compress.export.tflite_audit import dequantized_tensor, in_order, open_interpreter, require_litert
from keras_compress.export.tflite_audit import stored_in_tflite as stored_weights

__all__ = ["load", "stored_weights", "tensors"]


def load(path: Path, names: TensorNames | None, threads: int) -> Run:
    """Make a file ready to run; see :class:`~keras_compress.export.format.Format`."""
    interpreter = open_interpreter(path, threads)

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        _invoke(interpreter, names, arrays)
        outputs = in_order(interpreter.get_output_details(), names.outputs if names else None)
        return [dequantized_tensor(tensor, interpreter.get_tensor(tensor["index"])) for tensor in outputs]

    size = _batch(interpreter)
    return run if size is None else in_batches_of(size, run)


def tensors(
    path: Path, names: TensorNames | None, arrays: Sequence[np.ndarray]
) -> tuple[int, list[tuple[str, np.ndarray]]]:
    """Return how many samples the file has taken, and the tensors inside of it as floats by name, in the order of computation.

    They are those of the built-in kernels: delegates do not keep them.
    """
    plain = require_litert().OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    options = {"experimental_op_resolver_type": plain, "experimental_preserve_all_tensors": True}
    interpreter = open_interpreter(path, 1, **options)
    rows = _batch(interpreter) or len(arrays[0])
    _invoke(interpreter, names, [filled_up(array, rows) for array in arrays])
    details = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    found = []
    for operation in interpreter._get_ops_details():
        for index in operation["outputs"]:
            inside = details.get(index)
            if inside is not None and inside["dtype"] in (np.float32, np.int8, np.uint8, np.int16):
                found.append((inside["name"], dequantized_tensor(inside, interpreter.get_tensor(index))))
    return rows, found


def _invoke(interpreter: Any, names: TensorNames | None, arrays: Sequence[np.ndarray]) -> None:
    inputs = in_order(interpreter.get_input_details(), names.inputs if names else None)
    for tensor, array in zip(inputs, arrays, strict=True):
        if tuple(tensor["shape"]) != array.shape:
            interpreter.resize_tensor_input(tensor["index"], array.shape)
    interpreter.allocate_tensors()
    for tensor, array in zip(inputs, arrays, strict=True):
        interpreter.set_tensor(tensor["index"], _quantized(tensor, array))
    interpreter.invoke()


def _batch(interpreter: Any) -> int | None:
    """Return how many samples a file takes at a time; None for any number."""
    shape = interpreter.get_input_details()[0]["shape_signature"]
    return max(int(shape[0]), 1) if len(shape) and shape[0] >= 0 else None


def _quantized(tensor: dict, array: np.ndarray) -> np.ndarray:
    array = in_float_type(array, tensor["dtype"])
    if tensor["dtype"] == array.dtype:
        return array
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.round(array / scale) + zero_point, limits.min, limits.max).astype(tensor["dtype"])
