"""Export to a Keras file of built-in layers, ``.keras`` or ``.h5``, with the weights on their grids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.calibration.model_states import fresh_states
from keras_compress.data import fixed_batch, input_specs, pack_inputs
from keras_compress.errors import ExportError
from keras_compress.export.format import Format, Run, StoredWeight, TensorNames, in_batches_of
from keras_compress.export.registry import register_format
from keras_compress.files import MemoryFile, replacing
from keras_compress.graph import build, take
from keras_compress.graph.passes.strip import strip
from keras_compress.safe_mode import load_model

__all__ = ["export_h5", "export_keras"]


def export_keras(model: keras.Model, path: str | Path) -> Path:
    """Write the stripped model as a ``.keras`` file, which Keras loads without this package.

    It has the weights the compressed model computes with, and no quantizers of activations; a Keras file has no place
    for integers, so its size is that of the float model. To go on training, save the compressed model itself with
    ``model.save``.

    Args:
        model: the compressed model; it is only read.
        path: the file to write.

    Raises:
        ExportError: the path cannot be written.
    """
    return _save(model, Path(path), ".keras")


def export_h5(model: keras.Model, path: str | Path) -> Path:
    """Write the stripped model as an ``.h5`` file; see :func:`export_keras`."""
    return _save(model, Path(path), ".h5")


def _save(model: keras.Model, path: Path, suffix: str) -> Path:
    if path.suffix.lower() != suffix:
        raise ExportError(f"Keras needs a file that ends in '{suffix}'. Received: '{path.name}'. Change the name.")
    stripped = build(strip(take(model)))
    with replacing(path) as staged:
        written = staged.with_suffix(suffix)  # Keras knows the format by a suffix in small letters
        if suffix == ".h5":
            memory = MemoryFile(str(written))
            stripped.save(memory)
            written.write_bytes(memory.content)
        else:
            stripped.save(written)
        written.rename(staged)
    return path


def _stored_weights(path: Path) -> list[StoredWeight]:
    weights = take(load_model(path)).weights
    return [
        StoredWeight(f"{layer}/{name}", array, str(array.dtype), array.nbytes, False)
        for layer, arrays in weights.items()
        for name, array in arrays.items()
    ]


def _load(path: Path, names: TensorNames | None, threads: int) -> Run:
    model = load_model(path)

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        with fresh_states(model):
            outputs = model(pack_inputs(model, arrays), training=False)
        return [np.asarray(output) for output in tf.nest.flatten(outputs)]

    size = fixed_batch(input_specs(model))
    return run if size is None else in_batches_of(size, run)


for _name, _suffix, _write in (("keras", ".keras", export_keras), ("h5", ".h5", export_h5)):
    register_format(Format(_name, _suffix, _write, _stored_weights, _load, integers=False, keeps_quantizers=False))
