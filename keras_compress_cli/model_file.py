"""Reading a Keras model from a file, a folder or a function."""

from __future__ import annotations

import argparse
import importlib
import json
import zipfile
from pathlib import Path

import keras_compress  # noqa: F401  so that the layers of compressed models are known
from keras_compress._keras import keras
from keras_compress.data import InputSpec, input_specs
from keras_compress.errors import CompressionError
from keras_compress.graph.model_check import require_compressible
from keras_compress_cli.command import UsageError
from keras_compress_cli.entry_point import import_function, is_entry_point

__all__ = ["inputs_of", "read_model"]


def read_model(source: str, arguments: argparse.Namespace) -> keras.Model:
    """Return the model that ``source`` names, compressed or not; it is not compiled.

    Args:
        source: a ``.keras`` or ``.h5`` file, a SavedModel folder, or ``module:function``.
        arguments: with ``modules`` and ``trust``, see :func:`~keras_compress_cli.arguments.add_model`.

    Raises:
        UsageError: there is nothing of that name.
        CompressionError: it holds no tf-keras model.
    """
    for module in arguments.modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise UsageError(f"--import {module}: {error}.") from None
    if is_entry_point(source):
        model = import_function(source)()
        if not isinstance(model, keras.Model):
            raise CompressionError(
                f"'{source}' returned no model. Expected: a tf_keras model. Received: {type(model).__name__}."
            )
        return model
    if not Path(source).exists():
        raise UsageError(f"There is no model '{source}'. Expected: a file, a folder, or module:function.")
    try:
        model = keras.models.load_model(source, compile=False, safe_mode=not arguments.trust)
    except Exception as error:
        raise CompressionError(_unreadable(Path(source), error)) from error
    if not isinstance(model, keras.Model):
        raise CompressionError(f"'{source}' holds no Keras model. Expected: what model.save of tf-keras has written.")
    return model


def inputs_of(model: keras.Model) -> list[InputSpec]:
    """Return the inputs of a model.

    Raises:
        UnsupportedModelError: it has none, because it is no graph of layers or not built.
    """
    if not getattr(model, "inputs", None):
        require_compressible(model)
    return input_specs(model)


def _unreadable(path: Path, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    message = f"'{path}' cannot be read as a tf-keras model: {reason[:400]}"
    version = _keras_version(path)
    if version is not None and not version.startswith("2."):
        way_out = f"It was saved by Keras {version}. Build the model with tf_keras and save that."
    elif "safe_mode" in reason or "lambda" in reason.lower():
        way_out = "If you trust the file, pass --trust."
    elif "custom_object" in reason or "Unknown layer" in reason or "register_keras_serializable" in reason:
        way_out = "If it has layers of your own, pass --import with the module that registers them."
    else:
        way_out = "Expected: a .keras or .h5 file, or a SavedModel folder, that model.save of tf-keras has written."
    return f"{message}\n{way_out}"


def _keras_version(path: Path) -> str | None:
    """Return the version of Keras that wrote a ``.keras`` file, None if it is something else."""
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("metadata.json"))["keras_version"]
    except (OSError, zipfile.BadZipFile, KeyError, ValueError):
        return None
