"""Files in ONNX Runtime: what they hold, and what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.batch_rows import filled_up
from keras_compress.export.onnx_audit import stored_in_onnx
from keras_compress.export.runtimes.run import Run, TensorNames, in_batches_of, in_float_type, require_package
from keras_compress.export.stored_weight import StoredWeight

__all__ = ["load", "open_file", "stored_weights", "tensors"]


#: Types of floating point by what ONNX Runtime calls them.
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def stored_weights(path: Path) -> list[StoredWeight]:
    """Return the constants of a file."""
    return stored_in_onnx(_onnx().load(path), path)


def open_file(path: Path, threads: int) -> Any:
    """Return the ``onnxruntime.InferenceSession`` of a file on the CPU; 0 threads: runtime default."""
    return _session(str(path), intra_op_num_threads=threads)


def load(path: Path, names: TensorNames | None, threads: int) -> Run:
    """Make a file ready to run; see :class:`~keras_compress.export.format.Format`."""
    session = open_file(path, threads)

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return session.run(names.outputs if names else None, _feed(session, names, arrays))

    size = _batch(session)
    return run if size is None else in_batches_of(size, run)


def tensors(
    path: Path, names: TensorNames | None, arrays: Sequence[np.ndarray]
) -> tuple[int, list[tuple[str, np.ndarray]]]:
    """Return how many samples the file has taken, and the float tensors inside of it by name, in the order of computation."""
    onnx, runtime = _onnx(), _onnxruntime()
    model = onnx.load(path)
    made = [name for node in model.graph.node for name in node.output if name]
    present = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made if name not in present)
    plain = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = _session(model.SerializeToString(), graph_optimization_level=plain)
    rows = _batch(session) or len(arrays[0])
    values = session.run(made, _feed(session, names, [filled_up(array, rows) for array in arrays]))
    return rows, [(name, value) for name, value in zip(made, values, strict=True) if _is_float(value)]


def _session(model: str | bytes, **settings: Any) -> Any:
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    for name, value in settings.items():
        setattr(options, name, value)
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _feed(session: Any, names: TensorNames | None, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    types: dict[str, str] = {value.name: value.type for value in session.get_inputs()}
    inputs = names.inputs if names else list(types)
    pairs = zip(inputs, arrays, strict=True)
    return {name: in_float_type(array, _FLOATS.get(types.get(name, ""), array.dtype)) for name, array in pairs}


def _batch(session: Any) -> int | None:
    """Return how many samples a file takes at a time; None for any number."""
    shape = session.get_inputs()[0].shape
    return shape[0] if shape and isinstance(shape[0], int) else None


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.float32 and value.ndim > 0


def _onnx() -> Any:
    return require_package("onnx", "onnx", "Reading ONNX files")


def _onnxruntime() -> Any:
    return require_package("onnxruntime", "onnxruntime", "Running ONNX files")
