"""load_model: a Keras model from a file that is data: nothing that the file names is imported, called or written."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from keras_compress._keras import keras, safe_mode_scope
from keras_compress.arguments import checked_path, flag, mapping
from keras_compress.errors import CompressionError, UntrustedFileError
from keras_compress.safe_mode.descriptions import WAY_OUT
from keras_compress.safe_mode.file_configuration import refuse_programs_in_file, stored_bytes
from keras_compress.safe_mode.trust import is_trusted, trusting
from keras_compress.safe_mode.variable_limit import limited_variables

__all__ = ["load_model"]


def load_model(
    path: str | Path, *, trust: bool | None = None, custom_objects: Mapping[str, Any] | None = None
) -> keras.Model:
    """Read a Keras model, compressed or not, from a file that may come from anybody; it is not compiled.

    The whole configuration is looked at before anything is made of it. Refused are: Python code, as ``Lambda`` layers hold it; classes
    that are neither registered nor Keras' own; functions of TensorFlow with side effects; vocabularies and numbers that are kept
    in other files; in a SavedModel also operations with side effects, as in initializers.

    Args:
        path: a ``.keras`` or ``.h5`` file, or a SavedModel folder that ``model.save`` wrote.
        trust: run what the file names all the same. Default: as around the call, False where nothing is said.
        custom_objects: classes and functions by name that are known besides those registered.

    Raises:
        UntrustedFileError: the file does more than hold a model, and is not trusted.
        CompressionError: it cannot be read, or holds no model of tf-keras.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")]).save(f"{folder}/model.keras")
        ...     load_model(f"{folder}/model.keras").layers[-1].name
        'out'
    """
    path = checked_path("path", path)
    trust = is_trusted() if trust is None else flag("trust", trust)
    custom_objects = {} if custom_objects is None else mapping("custom_objects", custom_objects)
    if not path.exists():
        raise CompressionError(f"There is no model '{path}'. Expected: a file or a folder. Check the path.")
    try:
        with trusting(trust), safe_mode_scope(not trust), limited_variables(path, None if trust else _bytes_of(path)):
            if not trust:
                refuse_programs_in_file(path, custom_objects)
            known = dict(custom_objects or {})
            model = keras.models.load_model(path, custom_objects=known, compile=False, safe_mode=not trust)
    except UntrustedFileError as error:
        if _is_of_another_keras(path):
            raise CompressionError(_unreadable(path, error)) from error
        raise
    except Exception as error:  # of whatever reads the file
        raise CompressionError(_unreadable(path, error)) from error
    if not isinstance(model, keras.Model):
        raise CompressionError(f"'{path}' holds no Keras model. Expected: what model.save of tf-keras has written.")
    return model


def _bytes_of(path: Path) -> int:
    """Return how many bytes of numbers a file can hold."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return sum(member.file_size for member in archive.infolist())
    if h5py.is_hdf5(path):
        return stored_bytes(path)
    return path.stat().st_size


def _unreadable(path: Path, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    message = (
        reason
        if isinstance(error, CompressionError)
        else f"'{path}' cannot be read as a tf-keras model: {reason[:400]}"
    )
    if _is_of_another_keras(path):
        way_out = f"It was saved by Keras {_keras_version(path)}. Build the model with tf_keras and save that."
    elif isinstance(error, CompressionError):
        return message
    elif "safe_mode" in reason or "lambda" in reason.lower():
        way_out = WAY_OUT
    elif "custom_object" in reason or "Unknown layer" in reason or "register_keras_serializable" in reason:
        way_out = (
            "If it has layers of your own, import the module that registers them first (on the command line: pass --import), or pass "
            "custom_objects."
        )
    else:
        way_out = "Expected: a .keras or .h5 file, or a SavedModel folder, that model.save of tf-keras has written."
    return f"{message}\n{way_out}"


def _is_of_another_keras(path: Path) -> bool:
    version = _keras_version(path)
    return version is not None and not version.startswith("2.")


def _keras_version(path: Path) -> str | None:
    """Return the version of Keras that wrote a ``.keras`` file, None if it is something else."""
    try:
        with zipfile.ZipFile(path) as archive:
            version = json.loads(archive.read("metadata.json"))["keras_version"]
    except (
        OSError,
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        TypeError,
        RecursionError,
        NotImplementedError,
        RuntimeError,
    ):
        return None
    return version if isinstance(version, str) else None
