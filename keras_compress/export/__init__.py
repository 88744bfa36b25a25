"""Model files for runtimes: one format per file of this folder."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_compress._keras import keras
from keras_compress.errors import ExportError
from keras_compress.export.frozen_graph import export_frozen_graph
from keras_compress.export.onnx import export_onnx
from keras_compress.export.openvino import export_openvino

__all__ = ["export_frozen_graph", "export_model", "export_onnx", "export_openvino"]

EXPORTERS: dict[str, Callable[..., Path]] = {
    "frozen_graph": export_frozen_graph,
    "onnx": export_onnx,
    "openvino": export_openvino,
}
SUFFIXES = {".pb": "frozen_graph", ".xml": "openvino", ".onnx": "onnx"}


def export_model(model: keras.Model, path: str | Path, save_format: str | None = None, **options: Any) -> Path:
    """Write a compressed model for inference.

    Args:
        model: the compressed model; it is only read.
        path: the file to write. Missing folders are made; an existing file is replaced only by a complete new one.
        save_format: ``"frozen_graph"``, ``"openvino"`` or ``"onnx"``; by default the format of the suffix, ``.pb``, ``.xml`` or
            ``.onnx``.
        options: of the format, see :func:`~keras_compress.export.frozen_graph.export_frozen_graph`.

    Returns:
        The path of the file.

    Raises:
        ExportError: the format is unknown, an option is wrong, or writing failed.
    """
    path = Path(path)
    name = save_format or SUFFIXES.get(path.suffix.lower())
    if name not in EXPORTERS:
        raise ExportError(
            f"Unknown export format. Expected: a file ending in {sorted(SUFFIXES)}, or save_format one of {sorted(EXPORTERS)}. "
            f"Received: '{path.name}', save_format={save_format!r}. For other runtimes, write a .pb file and convert it, as "
            "with openvino.convert_model."
        )
    exporter = EXPORTERS[name]
    allowed = [
        key
        for key, parameter in inspect.signature(exporter).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    unknown = [key for key in options if key not in allowed]
    if unknown:
        raise ExportError(f"The format '{name}' has no option '{unknown[0]}'. Expected: one of {allowed}.")
    return exporter(model, path, **options)
