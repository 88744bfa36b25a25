"""Export to ONNX with standard operations: sparse, binary and floating-point models.

Models with quantizers are refused: converting them would fold their weights into floating point in silence.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras_compress._keras import keras
from keras_compress.errors import ExportError
from keras_compress.export.atomic_file import write_atomically
from keras_compress.export.frozen_graph import export_frozen_graph
from keras_compress.graph.variables import sublayers
from keras_compress.layers import FakeQuantize

__all__ = ["export_onnx"]

OPSET = 13


def export_onnx(
    model: keras.Model,
    path: str | Path,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    batch_size: int | None = None,
    opset: int = OPSET,
) -> Path:
    """Write ``model`` as an ONNX file.

    Binary activations become a comparison and a multiplication, binary weights constants of two values per channel, stored
    as float32: ONNX has no type of one bit.

    Args:
        model: the compressed model; it is only read.
        path: the ``.onnx`` file to write.
        input_names, output_names, batch_size: as in :func:`~keras_compress.export.frozen_graph.export_frozen_graph`.
        opset: version of the operators. Default 13.

    Returns:
        The path of the file.

    Raises:
        ExportError: the model has quantizers, a package is missing, or as for the frozen graph.
    """
    quantizer = next((layer for layer in sublayers(model) if isinstance(layer, FakeQuantize)), None)
    if quantizer is not None:
        raise ExportError(
            f"ONNX files of quantized models cannot be written yet: '{quantizer.name}' would end in floating point. "
            "Expected: a model without quantizers. Export to '.xml' (OpenVINO) or '.pb' instead."
        )
    try:
        import tensorflow as tf
        import tf2onnx
    except ImportError:
        raise ExportError("Writing ONNX files needs two packages: pip install tf2onnx onnx") from None
    names = {"input_names": input_names, "output_names": output_names}
    with tempfile.TemporaryDirectory() as folder:
        graph = export_frozen_graph(model, Path(folder) / "model.pb", batch_size=batch_size, **names)
        graph_def = tf.compat.v1.GraphDef.FromString(graph.read_bytes())
    inputs = [node.name for node in graph_def.node if node.op == "Placeholder"]
    outputs = _outputs(model, output_names, inputs)
    with _quiet():
        converted, _ = tf2onnx.convert.from_graph_def(
            graph_def,
            input_names=[f"{name}:0" for name in inputs],
            output_names=[f"{name}:0" for name in outputs],
            opset=opset,
        )
    _rename(converted.graph, {f"{name}:0": name for name in (*inputs, *outputs)})
    write_atomically(Path(path), converted.SerializeToString())
    return Path(path)


def _outputs(model: keras.Model, wanted: Sequence[str] | None, inputs: Sequence[str]) -> list[str]:
    if wanted is not None:
        return [wanted] if isinstance(wanted, str) else list(wanted)
    return [f"{name}_output" if name in inputs else name for name in model.output_names]


def _rename(graph: Any, renamed: dict[str, str]) -> None:
    """Rename tensors of an ONNX graph in place."""
    for value in (*graph.input, *graph.output):
        value.name = renamed.get(value.name, value.name)
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = renamed.get(name, name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's notes on its own workings off the screen."""
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
