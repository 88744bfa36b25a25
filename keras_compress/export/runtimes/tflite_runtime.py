"""Files in LiteRT, with the delegate that a phone uses: what they hold, and what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.export.runtimes.run import Run, in_batches_of
from keras_compress.export.tflite_audit import dequantized_tensor, open_interpreter
from keras_compress.export.tflite_audit import stored_in_tflite as stored_weights

__all__ = ["load", "stored_weights"]


def load(path: Path, names: Any, threads: int) -> Run:
    """Make a file ready to run; see :class:`~keras_compress.export.format.Format`."""
    interpreter = open_interpreter(path, threads)

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
        return [dequantized_tensor(tensor, interpreter.get_tensor(tensor["index"])) for tensor in outputs]

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
