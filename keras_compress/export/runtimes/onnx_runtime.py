"""Files in ONNX Runtime: what they hold, and what they compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.export.onnx_audit import stored_in_onnx
from keras_compress.export.runtimes.probing import Probes, probed
from keras_compress.export.runtimes.run import (
    FED,
    Inside,
    Run,
    TensorNames,
    in_batches_of,
    in_float_type,
    one_batch,
    require_package,
)
from keras_compress.export.stored_weight import StoredWeight

__all__ = ["fed_tensors", "load", "open_file", "stored_weights", "tensors"]


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


def tensors(path: Path, names: TensorNames | None, arrays: Sequence[np.ndarray]) -> Inside:
    """Return how many samples the file has taken, and the float tensors inside of it; see :class:`~.run.Inside`."""
    model = _onnx().load(path)
    own = [output.name for output in model.graph.output]
    session = open_file(path, 0)
    rows, arrays = one_batch(arrays, _batch(session))

    def beside(part: Sequence[str]) -> Probes:
        found = _asked(model, [*own, *part], names, arrays, optimized=False)
        return [found[name] for name in own], {name: found[name] for name in part}

    made = [name for node in model.graph.node for name in node.output if name]
    outputs = session.run(own, _feed(session, names, arrays))
    values, cut = probed(made, outputs, beside, lambda name: _asked(model, [name], names, arrays)[name])
    found = tuple((name, values[name]) for name in made if name in values and _is_float(values[name]))
    return Inside(rows, found, tuple(cut))


def fed_tensors(
    path: Path,
    names: TensorNames | None,
    arrays: Sequence[np.ndarray],
    fed: Mapping[str, np.ndarray],
    asked: Sequence[str],
) -> dict[str, np.ndarray]:
    """Return tensors of a file whose readers of some others are given values in their place; see :func:`.isolated_fed_tensors`."""
    model = _onnx().load(path)
    _replace(model.graph, fed)
    return _asked(model, asked, names, arrays, {f"{name}{FED}": value for name, value in fed.items()})


def _replace(graph: Any, fed: Mapping[str, np.ndarray]) -> None:
    """Let what reads some tensors read new inputs of their names; those of a quantizer pass one of its kind, as integers do."""
    onnx = _onnx()
    maker = {name: node for node in graph.node for name in node.output}
    new: dict[str, str] = {}
    pairs = []
    for name, value in fed.items():
        given = new[name] = f"{name}{FED}"
        graph.input.append(onnx.helper.make_tensor_value_info(given, onnx.TensorProto.FLOAT, value.shape))
        back = maker[name]
        if back.op_type == "DequantizeLinear":
            integers, new[name] = f"{given}/integers", f"{given}/quantized"
            for kind, source, output in (
                ("QuantizeLinear", given, integers),
                ("DequantizeLinear", integers, new[name]),
            ):
                copied = onnx.NodeProto()
                copied.CopyFrom(back)
                copied.name, copied.op_type = output, kind
                copied.input[:], copied.output[:] = [source, *back.input[1:]], [output]
                pairs.append(copied)
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
    nodes = [*pairs, *graph.node]  # their scales are constants
    del graph.node[:]
    graph.node.extend(nodes)


def _asked(
    model: Any,
    asked: Sequence[str],
    names: TensorNames | None,
    arrays: Sequence[np.ndarray],
    fed: Mapping[str, np.ndarray] | None = None,
    *,
    optimized: bool = True,
) -> dict[str, np.ndarray]:
    """Return tensors of a model by name, as of a file that ends with them."""
    onnx, runtime = _onnx(), _onnxruntime()
    ended = onnx.ModelProto()
    ended.CopyFrom(model)
    del ended.graph.output[:]
    ended.graph.output.extend(onnx.ValueInfoProto(name=name) for name in asked)
    levels = runtime.GraphOptimizationLevel
    level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    session = _session(ended.SerializeToString(), graph_optimization_level=level)
    feed = {**_feed(session, names, arrays), **(fed or {})}
    return dict(zip(asked, session.run(list(asked), feed), strict=True))


def _session(model: str | bytes, **settings: Any) -> Any:
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    for name, value in settings.items():
        setattr(options, name, value)
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _feed(session: Any, names: TensorNames | None, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    types: dict[str, str] = {value.name: value.type for value in session.get_inputs()}
    inputs = names.inputs if names else [name for name in types if not name.endswith(FED)]
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
