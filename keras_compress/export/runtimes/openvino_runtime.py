"""Files in OpenVINO: what they hold, and what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.export.openvino_audit import stored_in_openvino
from keras_compress.export.runtimes.run import MissingRuntime, Run, in_batches_of
from keras_compress.export.stored_weight import StoredWeight

__all__ = ["load", "open_file", "stored_weights", "tensors"]


def stored_weights(path: Path) -> list[StoredWeight]:
    """Return the constants of a file."""
    import openvino

    return stored_in_openvino(openvino.Core().read_model(path))


def open_file(path: Path, threads: int) -> Any:
    """Return the ``openvino.CompiledModel`` of a file on the CPU."""
    try:
        import openvino
    except ImportError:
        raise MissingRuntime("Running OpenVINO files needs its package: pip install openvino") from None
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    return openvino.Core().compile_model(path, "CPU", options)


def load(path: Path, names: Any, threads: int) -> Run:
    """Make a file ready to run; see :class:`~keras_compress.export.format.Format`."""
    compiled = open_file(path, threads)
    inputs = _ports(compiled.inputs, names.inputs) if names else compiled.inputs
    outputs = _ports(compiled.outputs, names.outputs) if names else compiled.outputs

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        results = compiled(dict(zip(inputs, arrays, strict=True)))
        return [results[port] for port in outputs]

    size = compiled.inputs[0].get_partial_shape()[0]
    return in_batches_of(size.get_length(), run) if size.is_static else run


def _ports(ports: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Return the ports in the order of ``names``, which OpenVINO keeps as TensorFlow's names of the tensors.

    An output that is an input has lost its name; it takes the place that is left.
    """
    by_name = {name.removesuffix(":0"): port for port in ports for name in port.get_names()}
    unnamed = [port for port in ports if port not in [by_name.get(name) for name in names]]
    return [by_name[name] if name in by_name else unnamed.pop(0) for name in names]


def tensors(path: Path, names: Any, arrays: Sequence[np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Return the float tensors inside a file for some inputs, by name and in the order in which they are computed."""
    import openvino

    nodes = [
        node.get_friendly_name()
        for node in openvino.Core().read_model(path).get_ordered_ops()
        if node.get_type_name() not in ("Parameter", "Constant", "Result")
    ]
    return [pair for part in _probed(path, nodes, names, arrays) for pair in part]


def _probed(
    path: Path, nodes: list[str], names: Any, arrays: Sequence[np.ndarray]
) -> list[list[tuple[str, np.ndarray]]]:
    """Return the values of nodes; where a file does not compile with all of them as outputs, in two halves."""
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    by_name = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    probes = [by_name[name].output(0) for name in nodes]
    first = len(model.outputs)
    try:
        model.add_outputs(probes)
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError:
        if len(nodes) == 1:
            return []
        half = len(nodes) // 2
        return _probed(path, nodes[:half], names, arrays) + _probed(path, nodes[half:], names, arrays)
    inputs = _ports(compiled.inputs, names.inputs) if names else compiled.inputs
    results = compiled(dict(zip(inputs, arrays, strict=True)))
    values = [results[port] for port in compiled.outputs[first:]]
    pairs = zip(nodes, values, strict=False)
    return [[(name, np.array(value)) for name, value in pairs if value.dtype == np.float32 and value.ndim]]
