"""Export to OpenVINO's own format: an ``.xml`` file and a ``.bin`` file with weights as integers, one bit where they are binary."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress._keras import keras
from keras_compress.errors import ExportError
from keras_compress.export.foreign_errors import explained
from keras_compress.export.format import Format, Run, StoredWeight, TensorNames, in_batches_of
from keras_compress.export.frozen_graph import freeze, tensor_names
from keras_compress.export.inference_model import inference_model
from keras_compress.export.openvino_audit import stored_in_openvino
from keras_compress.export.openvino_binary import rewrite_binary_convolutions
from keras_compress.export.openvino_interface import number_nodes, with_interface
from keras_compress.export.registry import register_format
from keras_compress.export.reproducible_graph import make_reproducible, serialized
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import BinaryActivation

__all__ = ["export_openvino"]


def export_openvino(
    model: keras.Model,
    path: str | Path,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> Path:
    """Write ``model`` as an OpenVINO model.

    Quantized weights are stored as 8-bit integers, weights of binary convolutions as one bit each. OpenVINO runs
    one-bit convolutions only in models whose shapes are fixed; a model that has them gets a batch of one unless told
    otherwise.

    Args:
        model: the compressed model; it is only read.
        path: the ``.xml`` file to write; the ``.bin`` file is written to the same folder.
        input_names, output_names: as in :func:`~keras_compress.export.frozen_graph.export_frozen_graph`.
        batch_size: a fixed batch; None (default) leaves it open where possible.

    Returns:
        The path of the ``.xml`` file.

    Raises:
        ExportError: the ``openvino`` package is missing, or as for the frozen graph.
    """
    try:
        import openvino
        from openvino._offline_transformations import compress_quantize_weights_transformation
    except ImportError:
        raise ExportError("Writing OpenVINO files needs its package: pip install openvino") from None
    path = Path(path)
    if path.suffix.lower() != ".xml":
        raise ExportError(f"An OpenVINO file ends in '.xml'. Received: '{path.name}'. Change the name.")
    if batch_size is None and _has_open_batch_of_binary_layers(model):
        batch_size = 1
        warnings.warn(
            "OpenVINO runs one-bit convolutions in models of fixed shape only, so this file takes batches of one. For "
            "others pass batch_size=….",
            stacklevel=2,
        )
    names = tensor_names(model, input_names, output_names)
    graph_def = freeze(inference_model(model), names, batch_size=batch_size)
    make_reproducible(graph_def, names.inputs, names.outputs)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.pb"
        graph.write_bytes(serialized(graph_def))
        with explained(
            f"OpenVINO cannot convert the model for '{path}'",
            "Write the operations that OpenVINO lacks with others, fix the batch with batch_size=1, or choose another format.",
            [name for name, _ in leaf_layers(model)],
        ):
            converted = with_interface(openvino.Core().read_model(graph), graph_def, names)
        if converted.is_dynamic() is False:
            rewrite_binary_convolutions(converted)
        compress_quantize_weights_transformation(converted)
        number_nodes(converted)
        converted.set_rt_info("keras_compress", ["framework"])
        converted.set_rt_info(model.name, ["model_info", "model_name"])
        _save(converted, path)
    return path


def _has_open_batch_of_binary_layers(model: keras.Model) -> bool:
    binary = any(isinstance(layer, BinaryActivation) and bool(layer.active.numpy()) for _, layer in leaf_layers(model))
    return binary and any(tensor.shape[0] is None for tensor in model.inputs)


def _save(converted: Any, path: Path) -> None:
    """Write both files to a temporary folder and move them to their places when they are complete; on failure restore the old ones."""
    import openvino

    targets = [path.with_suffix(".bin"), path]
    for target in targets:
        if target.is_dir():
            raise ExportError(f"'{target}' is a folder. Expected: the place of a file. Choose another name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            written = Path(folder) / "model.xml"
            openvino.save_model(converted, written, compress_to_fp16=False)
            _move_together([(written.with_suffix(".bin"), targets[0]), (written, targets[1])], Path(folder))
    except (OSError, RuntimeError) as error:
        raise ExportError(f"'{path}' cannot be written: {error}. What was there before is unchanged.") from None


def _move_together(moves: Sequence[tuple[Path, Path]], folder: Path) -> None:
    """Move files over old ones: all of them, or none."""
    kept = [(folder / f"old{number}", target) for number, (_, target) in enumerate(moves) if target.exists()]
    for old, target in kept:
        shutil.copy2(target, old)
    try:
        for new, target in moves:
            os.replace(new, target)
    except OSError:
        for _, target in moves:
            target.unlink(missing_ok=True)
        for old, target in kept:
            shutil.copy2(old, target)
        raise


def _stored_weights(path: Path) -> list[StoredWeight]:
    import openvino

    return stored_in_openvino(openvino.Core().read_model(path))


def _open(path: Path, threads: int) -> Any:
    """Return the ``openvino.CompiledModel`` of a file on the CPU."""
    try:
        import openvino
    except ImportError:
        raise ExportError("Running OpenVINO files needs its package: pip install openvino") from None
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    return openvino.Core().compile_model(path, "CPU", options)


def _load(path: Path, names: TensorNames | None, threads: int) -> Run:
    compiled = _open(path, threads)
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


register_format(
    Format(
        "openvino", ".xml", export_openvino, _stored_weights, _load, open=_open, beside=(".bin",), runtime="openvino"
    )
)
