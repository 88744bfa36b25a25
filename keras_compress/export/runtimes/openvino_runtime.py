"""Files in OpenVINO: what they hold, and what they compute."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.export.openvino_audit import stored_in_openvino
from keras_compress.export.runtimes.openvino_pair import require_pair
from keras_compress.export.runtimes.probing import Probes, probed
from keras_compress.export.runtimes.run import FED, Inside, Run, TensorNames, in_batches_of, one_batch, require_package
from keras_compress.export.stored_weight import StoredWeight

__all__ = ["fed_tensors", "load", "load_by_default", "open_file", "stored_weights", "tensors"]

#: Without the rounding to bfloat16 that is the default on some CPUs.
_EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
#: Nor the default rounding of floating-point activations to 8 bits where weights have them: a tensor that is asked for may take
#: it away, so that what is compared would depend on what is asked for.
_INSIDE = {**_EXACT, "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


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
    outputs = _places(compiled.outputs, names.outputs) if names else range(len(compiled.outputs))

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        results = compiled(_feed(compiled, names, arrays))
        return [results[at] for at in outputs]

    size = _batch(compiled)
    return run if size is None else in_batches_of(size, run)


def tensors(path: Path, names: TensorNames | None, arrays: Sequence[np.ndarray]) -> Inside:
    """Return how many samples the file has taken, and the float tensors inside of it; see :class:`~.run.Inside`."""
    require_pair(path)
    core = _openvino().Core()
    plain = core.compile_model(path, "CPU", _INSIDE)  # where this fails it is an error, not a file without tensors
    rows, arrays = one_batch(arrays, _batch(plain))
    results = plain(_feed(plain, names, arrays))

    def beside(part: Sequence[str]) -> Probes:
        model = core.read_model(path)
        return _outputs(core, model, part, names, arrays)

    def alone(name: str) -> np.ndarray:
        return _outputs(core, core.read_model(path), [name], names, arrays, end=True)[1][name]

    nodes = _computed(core.read_model(path))
    values, cut = probed(nodes, [results[at] for at in range(len(plain.outputs))], beside, alone)
    found = tuple((name, values[name]) for name in nodes if name in values and _is_float(values[name]))
    return Inside(rows, found, tuple(cut))


def fed_tensors(
    path: Path,
    names: TensorNames | None,
    arrays: Sequence[np.ndarray],
    fed: Mapping[str, np.ndarray],
    asked: Sequence[str],
) -> dict[str, np.ndarray]:
    """Return tensors of a file whose readers of some others are given values in their place; see :func:`.isolated_fed_tensors`."""
    core = _openvino().Core()
    model = core.read_model(path)
    try:
        return dict(_outputs(core, model, asked, names, arrays, fed)[1])
    except RuntimeError:
        half = len(asked) // 2
        parts = (asked[:half], asked[half:]) if half else ()
        return {name: value for part in parts for name, value in fed_tensors(path, names, arrays, fed, part).items()}


def _computed(model: Any) -> list[str]:
    """Return the names of the nodes that compute something, in order."""
    kinds = ("Parameter", "Constant", "Result")
    return [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() not in kinds]


def _replace(model: Any, nodes: Mapping[str, Any], fed: Mapping[str, np.ndarray]) -> None:
    """Let what reads some tensors read new inputs of their names; those of a quantizer pass one of its kind, as integers do."""
    operations = importlib.import_module("openvino.opset13")
    for name, value in fed.items():
        node = nodes[name]
        readers = [port for port in node.output(0).get_target_inputs() if port.get_node().get_type_name() != "Result"]
        given = operations.parameter(list(value.shape), np.float32, name=f"{name}{FED}")
        given.output(0).set_names({f"{name}{FED}"})
        model.add_parameters([given])
        source = given.output(0)
        if node.get_type_name() == "FakeQuantize":
            ends = [node.input_value(port) for port in range(1, 5)]
            source = operations.fake_quantize(given, *ends, node.get_attributes()["levels"]).output(0)
        for reader in readers:
            reader.replace_source_output(source)


def _outputs(
    core: Any,
    model: Any,
    asked: Sequence[str],
    names: TensorNames | None,
    arrays: Sequence[np.ndarray],
    fed: Mapping[str, np.ndarray] | None = None,
    *,
    end: bool = False,
) -> Probes:
    """Run a model that is asked for nodes; return its own outputs, none if it is to end with the nodes, and the nodes by name."""
    nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    results_before = model.get_results()
    model.add_outputs([nodes[name].output(0) for name in asked])
    for result in results_before if end else ():
        if result.input(0).get_source_output().get_node().get_friendly_name() not in asked:
            model.remove_result(result)
    own = 0 if end else len(results_before)
    _replace(model, nodes, fed or {})
    compiled = core.compile_model(model, "CPU", _INSIDE)
    results = compiled(_feed(compiled, names, arrays, fed or {}))
    sources = [result.input(0).get_source_output() for result in model.get_results()]  # a node may be an output already
    values = {port.get_node().get_friendly_name(): results[at] for at, port in enumerate(sources) if port.index == 0}
    return [results[at] for at in range(own)], {name: np.array(values[name]) for name in asked if name in values}


def _is_float(value: np.ndarray) -> bool:
    return value.dtype == np.float32 and value.ndim > 0


def _feed(
    compiled: Any,
    names: TensorNames | None,
    arrays: Sequence[np.ndarray],
    fed: Mapping[str, np.ndarray] | None = None,
) -> dict[int, np.ndarray]:
    """Return the values of the inputs by their numbers: OpenVINO never lets go of a model that is given them by ports."""
    given = [next((name for name in port.get_names() if name.endswith(FED)), None) for port in compiled.inputs]
    own = [at for at, name in enumerate(given) if name is None]
    if names:
        places = _places([compiled.inputs[at] for at in own], names.inputs)
        own = [own[place] for place in places]
    values = {at: fed[name.removesuffix(FED)] for at, name in enumerate(given) if name is not None and fed}
    return {**dict(zip(own, arrays, strict=True)), **values}


def _batch(compiled: Any) -> int | None:
    """Return how many samples a file takes at a time; None for any number."""
    shape = compiled.inputs[0].get_partial_shape()
    size = shape[0] if len(shape) else None
    return size.get_length() if size is not None and size.is_static else None


def _places(ports: Sequence[Any], names: Sequence[str]) -> list[int]:
    """Return where ``names`` are among the ports, which have TensorFlow's names of the tensors.

    An output that is an input has lost its name; it takes the place that is left.
    """
    by_name = {name.removesuffix(":0"): at for at, port in enumerate(ports) for name in port.get_names()}
    unnamed = [at for at in range(len(ports)) if at not in [by_name.get(name) for name in names]]
    return [by_name[name] if name in by_name else unnamed.pop(0) for name in names]


def _openvino() -> Any:
    return require_package("openvino", "openvino", "Running OpenVINO files")
