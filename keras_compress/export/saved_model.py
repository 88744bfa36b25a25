"""Export to a SavedModel folder that plain TensorFlow loads and serves without this package."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.python.checkpoint.graph_view import ObjectGraphView
from tensorflow.python.trackable.resource import CapturableResource

from keras_compress._keras import keras
from keras_compress.errors import CompressionError, ExportError
from keras_compress.export.foreign_errors import explained
from keras_compress.export.format import Format, Run, StoredWeight, TensorNames, in_batches_of
from keras_compress.export.frozen_graph import inference_function, tensor_names
from keras_compress.export.graph_def import stored_in_graph
from keras_compress.export.inference_model import inference_model
from keras_compress.export.input_signature import InputShapes, input_signature
from keras_compress.export.registry import register_format
from keras_compress.export.runtimes.run import in_float_type
from keras_compress.export.saved_model_reading import frozen_signature
from keras_compress.files import replacing, require_replaceable
from keras_compress.graph.variables import leaf_layers
from keras_compress.safe_mode import parsed_saved_model, refuse_programs_in_saved_model

__all__ = ["export_saved_model", "foreign_files"]

#: The files of a SavedModel, and of one that Keras wrote.
_PART = re.compile(r"saved_model\.pb|fingerprint\.pb|keras_metadata\.pb|assets|variables(/variables\.index)?")
_NUMBERS = re.compile(r"variables/variables\.data-(\d{5})-of-(\d{5})")


def export_saved_model(
    model: keras.Model,
    path: str | Path,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    batch_size: int | None = None,
    input_shapes: InputShapes | None = None,
) -> Path:
    """Write ``model`` as a SavedModel with the signature ``serving_default``, its inputs and outputs by name.

    TensorFlow stores weights as float32 numbers on their grids, with fake-quantization operations behind them.

    Args:
        model: the compressed model; it is only read.
        path: the folder to write. An existing SavedModel is replaced by a complete new one; a folder with any other file in
            it is refused.
        input_names, output_names, batch_size, input_shapes: as in :func:`~keras_compress.export.frozen_graph.export_frozen_graph`.

    Returns:
        The path of the folder.

    Raises:
        ExportError: the path holds something else, or as for the frozen graph.
    """
    path = Path(path)
    names = tensor_names(model, input_names, output_names)
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not (path / "saved_model.pb").exists()):
        raise ExportError(
            f"'{path}' exists and is no SavedModel. Expected: a new or an empty folder. Choose another name."
        )
    require_replaceable(path, folder=True, foreign=foreign_files)
    inference = inference_model(model)
    signature = input_signature(model, batch_size, input_shapes, names.inputs)
    infer = inference_function(inference, signature)
    module = tf.Module()
    module.variables_of_the_model = inference.variables
    module.resources_of_the_model = _resources(inference)
    specs = [
        tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in zip(names.inputs, signature, strict=True)
    ]

    @tf.function(input_signature=specs, autograph=False)
    def serve(*tensors):
        return dict(zip(names.outputs, infer(*tensors), strict=True))

    with (
        replacing(path, folder=True, foreign=foreign_files) as written,
        explained(
            f"TensorFlow cannot save the model for '{path}'",
            "What was there before is unchanged. Choose another path or format.",
            [name for name, _ in leaf_layers(model)],
        ),
    ):
        tf.saved_model.save(module, str(written), signatures=serve)
    return path


def _resources(model: keras.Model) -> list:
    """Return what TensorFlow saves only with an owner: tables, and variables of what layers hold, as a loaded SavedModel."""
    objects = ObjectGraphView(model).breadth_first_traversal()[0]
    return [one for one in objects if isinstance(one, (CapturableResource, tf.Variable))]


def foreign_files(path: Path) -> list[str]:
    """Return the names in a folder that are no part of a SavedModel, by what its own files list."""
    parts = {file.relative_to(path).as_posix() for file in path.rglob("*")}
    if "saved_model.pb" not in parts:
        return sorted(os.listdir(path))
    own = _assets(path) | _whole_numbers(parts)
    return sorted(part for part in parts if part not in own and not _PART.fullmatch(part))


def _assets(path: Path) -> set[str]:
    """Return the files that a SavedModel lists as its own, with the folders they are in; none where it cannot be read."""
    try:
        files = [Path("assets", asset.filename) for asset in parsed_saved_model(path).meta_graphs[0].asset_file_def]
    except CompressionError:
        return set()
    return {part.as_posix() for file in files for part in (file, *file.parents)}


def _whole_numbers(parts: set[str]) -> set[str]:
    """Return the files of numbers of which none is missing: a single one of several belongs to something else."""
    found = {part: match.groups() for part in parts if (match := _NUMBERS.fullmatch(part))}
    present = Counter(total for _, total in found.values())
    return {part for part, (_, total) in found.items() if present[total] == int(total)}


def _stored_weights(path: Path) -> list[StoredWeight]:
    return stored_in_graph(frozen_signature(path))


def _load(path: Path, names: TensorNames | None, threads: int) -> Run:
    refuse_programs_in_saved_model(parsed_saved_model(path), path)
    module = tf.saved_model.load(str(path))
    signature = module.signatures["serving_default"]
    keywords = list(signature.structured_input_signature[1])
    inputs = names.inputs if names else keywords
    specs = signature.structured_input_signature[1]

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        outputs = signature(
            **{
                name: tf.constant(in_float_type(np.asarray(array), specs[name].dtype.as_numpy_dtype))
                for name, array in zip(inputs, arrays, strict=True)
            }
        )
        _ = module  # whose variables live only as long as it does
        return [outputs[name].numpy() for name in (names.outputs if names else outputs)]

    shapes = [spec.shape for spec in signature.structured_input_signature[1].values()]
    size = next((shape[0] for shape in shapes if shape.rank and shape[0] is not None), None)
    return run if size is None else in_batches_of(size, run)


register_format(Format("saved_model", "", export_saved_model, _stored_weights, _load, integers=False))
