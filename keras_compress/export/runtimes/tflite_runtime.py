"""Files in LiteRT, with the delegate that a phone uses: what they hold, and what they compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.export.runtimes.probing import Probes, probed
from keras_compress.export.runtimes.run import FED, Inside, Run, TensorNames, in_batches_of, in_float_type, one_batch
from keras_compress.export.runtimes.tflite_cuts import CutFile
from keras_compress.export.tflite_audit import dequantized_tensor, in_order, open_interpreter, require_litert
from keras_compress.export.tflite_audit import stored_in_tflite as stored_weights

__all__ = ["fed_tensors", "load", "stored_weights", "tensors"]


def load(path: Path, names: TensorNames | None, threads: int) -> Run:
    """Make a file ready to run; see :class:`~keras_compress.export.format.Format`."""
    interpreter = open_interpreter(path, threads)

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        _invoke(interpreter, names, arrays)
        outputs = in_order(interpreter.get_output_details(), names.outputs if names else None)
        return [dequantized_tensor(tensor, interpreter.get_tensor(tensor["index"])) for tensor in outputs]

    size = _batch(interpreter)
    return run if size is None else in_batches_of(size, run)


def tensors(path: Path, names: TensorNames | None, arrays: Sequence[np.ndarray]) -> Inside:
    """Return how many samples the file has taken, and the tensors inside of it as floats; see :class:`~.run.Inside`.

    They are asked for as outputs, so that they come from the kernels that make the outputs of the file.
    """
    plain = open_interpreter(path, 1)
    rows, arrays = one_batch(arrays, _batch(plain))
    _invoke(plain, names, arrays)
    file = CutFile(path)
    outputs = _read(plain, file.own)

    def beside(part: Sequence[str]) -> Probes:
        interpreter, places = _asked(file, part, names, arrays, beside=True)
        found = _read(interpreter, places)
        return _read(interpreter, file.own), dict(zip(part, found, strict=True))

    def alone(name: str) -> np.ndarray:
        return _read(*_asked(file, [name], names, arrays))[0]

    values, cut = probed(_numbers(plain, file), outputs, beside, alone)
    return Inside(rows, tuple((name, values[name]) for name in file.made if name in values), tuple(cut))


def fed_tensors(
    path: Path,
    names: TensorNames | None,
    arrays: Sequence[np.ndarray],
    fed: Mapping[str, np.ndarray],
    asked: Sequence[str],
) -> dict[str, np.ndarray]:
    """Return tensors of a file whose readers of some others are given values in their place; see :func:`.isolated_fed_tensors`."""
    file = CutFile(path)
    file.give(fed)
    found = _read(*_asked(file, asked, names, arrays, fed))
    return dict(zip(asked, found, strict=True))


def _numbers(interpreter: Any, file: CutFile) -> list[str]:
    """Return the names of the tensors of a file that are numbers, on a grid or of floating point."""
    kinds = (np.float32, np.int8, np.uint8, np.int16)
    details = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    return [name for name in file.made if details.get(file.place(name), {}).get("dtype") in kinds]


def _asked(
    file: CutFile,
    asked: Sequence[str],
    names: TensorNames | None,
    arrays: Sequence[np.ndarray],
    fed: Mapping[str, np.ndarray] | None = None,
    *,
    beside: bool = False,
) -> tuple[Any, list[int]]:
    """Run a file that is asked for tensors; return the interpreter, and where the tensors are."""
    content, places = file.asked(asked, beside=beside)
    interpreter = require_litert().Interpreter(model_content=content, num_threads=1)
    _invoke(interpreter, names, arrays, fed or {})
    return interpreter, places


def _read(interpreter: Any, places: Sequence[int]) -> list[np.ndarray]:
    details = {tensor["index"]: tensor for tensor in interpreter.get_output_details()}
    return [np.array(dequantized_tensor(details[place], interpreter.get_tensor(place))) for place in places]


def _invoke(
    interpreter: Any,
    names: TensorNames | None,
    arrays: Sequence[np.ndarray],
    fed: Mapping[str, np.ndarray] | None = None,
) -> None:
    details = interpreter.get_input_details()
    own = [tensor for tensor in details if not tensor["name"].endswith(FED)]
    given = [tensor for tensor in details if tensor["name"].endswith(FED)]
    inputs = [*in_order(own, names.inputs if names else None), *given]
    arrays = [*arrays, *((fed or {})[tensor["name"].removesuffix(FED)] for tensor in given)]
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
