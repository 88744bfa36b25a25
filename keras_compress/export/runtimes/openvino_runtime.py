"""Files in OpenVINO: what they hold, and what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.batch_rows import filled_up
from keras_compress.export.openvino_audit import stored_in_openvino
from keras_compress.export.runtimes.openvino_pair import require_pair
from keras_compress.export.runtimes.run import Run, TensorNames, in_batches_of, require_package
from keras_compress.export.stored_weight import StoredWeight

__all__ = ["load", "load_by_default", "open_file", "stored_weights", "tensors"]

#: Without the rounding to bfloat16 that is the default on some CPUs.
_EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def stored_weights(path: Path) -> list[StoredWeight]:
    """Return the constants of a file."""
    require_pair(path)
    return stored_in_openvino(_openvino().Core().read_model(path))


def open_file(path: Path, threads: int) -> Any:
    """Return the ``openvino.CompiledModel`` of a file on the CPU; 0 threads: runtime default."""
    require_pair(path)
    options: dict[str, Any] = {**_EXACT, "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    return _openvino().Core().compile_model(path, "CPU", options)


def load(path: Path, names: TensorNames | None, threads: int) -> Run:
    """Make a file ready to run; see :class:`~keras_compress.export.format.Format`."""
    return _run(open_file(path, threads), names)


def load_by_default(path: Path, names: TensorNames | None) -> tuple[str, Run] | None:
    """Make a file ready to run as it runs without any options, and say in which precision; None if that is float32."""
    compiled = _openvino().Core().compile_model(path, "CPU")
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return None if precision == "f32" else (precision, _run(compiled, names))


def _run(compiled: Any, names: TensorNames | None) -> Run:
    outputs = _ports(compiled.outputs, names.outputs) if names else compiled.outputs

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        results = compiled(_feed(compiled, names, arrays))
        return [results[port] for port in outputs]

    size = _batch(compiled)
    return run if size is None else in_batches_of(size, run)


def tensors(
    path: Path, names: TensorNames | None, arrays: Sequence[np.ndarray]
) -> tuple[int, list[tuple[str, np.ndarray]]]:
    """Return how many samples the file has taken, and the float tensors inside of it by name, in the order of computation."""
    require_pair(path)
    core = _openvino().Core()
    plain = core.compile_model(
        path, "CPU", _EXACT
    )  # a file that does not compile is an error, not a file without tensors
    nodes = [
        node.get_friendly_name()
        for node in core.read_model(path).get_ordered_ops()
        if node.get_type_name() not in ("Parameter", "Constant", "Result")
    ]
    rows = _batch(plain) or len(arrays[0])
    return rows, _probed(core, path, nodes, names, [filled_up(array, rows) for array in arrays])


def _probed(
    core: Any, path: Path, nodes: list[str], names: TensorNames | None, arrays: Sequence[np.ndarray]
) -> list[tuple[str, np.ndarray]]:
    """Return the values of nodes; where a file does not compile with all of them as outputs, in two halves."""
    model = core.read_model(path)
    by_name = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    try:
        model.add_outputs([by_name[name].output(0) for name in nodes])
        compiled = core.compile_model(model, "CPU", _EXACT)
    except RuntimeError:
        half = len(nodes) // 2
        halves = [nodes[:half], nodes[half:]] if half else []
        return [pair for part in halves for pair in _probed(core, path, part, names, arrays)]
    results = compiled(_feed(compiled, names, arrays))
    sources = [result.input(0).get_source_output() for result in model.get_results()]  # a node may be an output already
    values = {port.get_node().get_friendly_name(): results[at] for at, port in enumerate(sources) if port.index == 0}
    return [(name, np.array(values[name])) for name in nodes if values[name].dtype == np.float32 and values[name].ndim]


def _feed(compiled: Any, names: TensorNames | None, arrays: Sequence[np.ndarray]) -> dict[Any, np.ndarray]:
    inputs = _ports(compiled.inputs, names.inputs) if names else compiled.inputs
    return dict(zip(inputs, arrays, strict=True))


def _batch(compiled: Any) -> int | None:
    """Return how many samples a file takes at a time; None for any number."""
    shape = compiled.inputs[0].get_partial_shape()
    size = shape[0] if len(shape) else None
    return size.get_length() if size is not None and size.is_static else None


def _ports(ports: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Return the ports in the order of ``names``, which OpenVINO keeps as TensorFlow's names of the tensors.

    An output that is an input has lost its name; it takes the place that is left.
    """
    by_name = {name.removesuffix(":0"): port for port in ports for name in port.get_names()}
    unnamed = [port for port in ports if port not in [by_name.get(name) for name in names]]
    return [by_name[name] if name in by_name else unnamed.pop(0) for name in names]


def _openvino() -> Any:
    return require_package("openvino", "openvino", "Running OpenVINO files")
