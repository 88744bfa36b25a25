"""What a Keras file says about its model, read without making anything of it: a ``.keras`` archive, an ``.h5`` file, a SavedModel."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from keras_compress._keras import SavedMetadata
from keras_compress.errors import CompressionError, UntrustedFileError
from keras_compress.safe_mode.descriptions import WAY_OUT, refuse_programs_in
from keras_compress.safe_mode.saved_model_graph import parsed_saved_model, refuse_programs_in_saved_model

__all__ = ["is_archive", "refuse_programs_in_file", "stored_bytes"]

#: No configuration of a model is as long; a small archive can hold more than memory does.
_LARGEST = 1 << 28
#: How many times smaller zlib can make numbers.
_PACKED = 1032
_CONFIGURATION = "config.json"


def is_archive(path: Path) -> bool:
    """Return whether Keras reads a file as an archive of its newer format."""
    return str(path).endswith(".keras") and zipfile.is_zipfile(path)


def refuse_programs_in_file(path: Path, custom_objects: Mapping[str, Any] | None = None) -> None:
    """Refuse a Keras file that does more than hold a model. Nothing is imported, called, written or initialized.

    Args:
        path: a ``.keras`` or ``.h5`` file, or a SavedModel folder.
        custom_objects: classes and functions by name that are known besides those registered.

    Raises:
        UntrustedFileError: it names code, classes that are not known, functions or operations with side effects, or other files.
        CompressionError: it is no file of Keras.
    """
    if path.is_dir():
        _refuse_folder(path, custom_objects)
    elif is_archive(path):
        _refuse_archive(path, custom_objects)
    else:
        _refuse_hdf5(path, custom_objects)


def stored_bytes(path: Path) -> int:
    """Return how many bytes of numbers an HDF5 file holds once they are unpacked."""
    total = path.stat().st_size

    def count(_: str, item: Any) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset):
            total += min(item.nbytes, _PACKED * item.id.get_storage_size())

    try:
        with h5py.File(path, "r") as file:
            file.visititems(count)
    except Exception:  # of a damaged file, which is told when it is read
        return total
    return total


def _refuse_archive(path: Path, custom_objects: Mapping[str, Any] | None) -> None:
    with zipfile.ZipFile(path) as archive:
        if _CONFIGURATION not in archive.namelist():
            raise CompressionError(
                f"'{path}' is an archive without '{_CONFIGURATION}'. Expected: what model.save wrote."
            )
        if archive.getinfo(_CONFIGURATION).file_size > _LARGEST:
            raise CompressionError(f"The configuration in '{path}' is too long. Expected: at most {_LARGEST:,} bytes.")
        description = _parsed(archive.read(_CONFIGURATION), path)
        if isinstance(description, dict):
            description = {**description, "compile_config": None}  # the model is not compiled
        refuse_programs_in(description, f"'{path}'", custom_objects)
        for name in archive.namelist():
            if name.endswith(".h5"):
                with archive.open(name) as stored, h5py.File(stored, "r") as file:
                    _refuse_links(file, path)


def _refuse_hdf5(path: Path, custom_objects: Mapping[str, Any] | None) -> None:
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise CompressionError(
            f"'{path}' is no file of Keras: {error}. Expected: what model.save of tf-keras has written."
        ) from None
    with file:
        _refuse_links(file, path)
        text = file.attrs.get("model_config")
        if text is not None:
            refuse_programs_in(_parsed(text, path), f"'{path}'", custom_objects, old=True)


def _refuse_folder(path: Path, custom_objects: Mapping[str, Any] | None) -> None:
    saved = parsed_saved_model(path)
    for text in _metadata(path, saved):
        refuse_programs_in(_parsed(text, path), f"'{path}'", custom_objects, old=True)
    refuse_programs_in_saved_model(saved, path)


def _metadata(path: Path, saved: Any) -> list[str]:
    """Return what Keras keeps about each layer of a SavedModel, as JSON."""
    file = path / "keras_metadata.pb"
    if file.exists():
        try:
            return [node.metadata for node in SavedMetadata.FromString(file.read_bytes()).nodes]
        except Exception as error:  # of the protobuf library
            raise CompressionError(f"'{file}' is damaged: {error}. Save the model again.") from None
    objects = saved.meta_graphs[0].object_graph_def.nodes if saved.meta_graphs else ()
    found = [node.user_object.metadata for node in objects if node.user_object.metadata]
    if not found:
        raise CompressionError(
            f"'{path}' holds no Keras model. Expected: what model.save of tf-keras has written. Received: a SavedModel of another kind."
        )
    return found


def _parsed(text: str | bytes, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise CompressionError(f"The configuration in '{path}' is damaged: {error}. Save the model again.") from None


def _refuse_links(file: h5py.File, path: Path) -> None:
    """Refuse an HDF5 file that takes groups or numbers from other files."""

    def refuse(name: str) -> None:
        raise UntrustedFileError(f"'{path}' is more than a model: '{name}' in it is a link to another file. {WAY_OUT}")

    waiting = [file["/"]]
    while waiting:
        group = waiting.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                refuse(name)
            if isinstance(link, h5py.SoftLink):
                continue
            item = group[name]
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                refuse(name)
