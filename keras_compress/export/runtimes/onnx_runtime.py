"""Files in ONNX Runtime: what they hold, and what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.export.onnx_audit import stored_in_onnx
from keras_compress.export.runtimes.run import MissingRuntime, Run, in_batches_of
from keras_compress.export.stored_weight import StoredWeight

__all__ = ["load", "open_file", "stored_weights", "tensors"]


def stored_weights(path: Path) -> list[StoredWeight]:
    """Return the constants of a file."""
    import onnx

    return stored_in_onnx(onnx.load(path), path)


def open_file(path: Path, threads: int) -> Any:
    """Return the ``onnxruntime.InferenceSession`` of a file on the CPU; 0 threads: runtime default."""
    try:
        import onnxruntime
    except ImportError:
        raise MissingRuntime("Running ONNX files needs a package: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def load(path: Path, names: Any, threads: int) -> Run:
    """Make a file ready to run; see :class:`~keras_compress.export.format.Format`."""
    session = open_file(path, threads)
    inputs = names.inputs if names else [value.name for value in session.get_inputs()]

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return session.run(names.outputs if names else None, dict(zip(inputs, arrays, strict=True)))

    size = session.get_inputs()[0].shape[0]
    return in_batches_of(size, run) if isinstance(size, int) else run


def tensors(path: Path, names: Any, arrays: Sequence[np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Return the float tensors inside a file for some inputs, by name and in the order in which they are computed."""
    import onnx
    import onnxruntime

    model = onnx.load(path)
    made = [name for node in model.graph.node for name in node.output if name]
    present = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made if name not in present)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = names.inputs if names else [value.name for value in session.get_inputs()]
    values = session.run(made, dict(zip(inputs, arrays, strict=True)))
    return [(name, value) for name, value in zip(made, values, strict=True) if _is_float(value)]


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.float32 and value.ndim > 0
