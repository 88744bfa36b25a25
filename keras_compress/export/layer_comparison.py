"""compare: a file and the model it was made from, layer by layer; the first layer that departs is named."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.arguments import checked_path, flag, number
from keras_compress.batch_rows import filled_up
from keras_compress.calibration.layer_outputs import see_outputs
from keras_compress.data import fixed_batch, input_specs
from keras_compress.errors import ExportError
from keras_compress.export.audit_samples import AuditSamples, audit_samples
from keras_compress.export.fed_layers import FedError, FedLayers
from keras_compress.export.foreign_errors import explained
from keras_compress.export.format import Format, TensorNames
from keras_compress.export.frozen_graph import tensor_names
from keras_compress.export.input_signature import fixed_shapes
from keras_compress.export.isolated_runtime import isolated_tensors
from keras_compress.export.layer_departure import MANY, LayerComparison, LayerDeparture
from keras_compress.export.layer_matching import Match, matched
from keras_compress.export.registry import format_of
from keras_compress.export.result_comparison import Limits
from keras_compress.graph import ModelGraph, TensorRef, take
from keras_compress.graph.model_check import require_graph
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import FakeQuantize
from keras_compress.safe_mode import trusting

__all__ = ["compare", "compare_layers"]

#: Samples on which layers are compared.
SAMPLES = 16
#: By how many dB a layer is better than the one before where it cannot come from that one's output.
CURED = 10.0


def compare(
    model: keras.Model,
    path: str | Path,
    data: Any = None,
    *,
    save_format: str | None = None,
    input_names: Any = None,
    output_names: Any = None,
    input_shapes: Any = None,
    min_sqnr: float | None = None,
    fed: bool = False,
    trust: bool = False,
) -> LayerComparison:
    """Compare a file with the model it was made from, layer by layer.

    The runtime is asked for the tensors inside of the file. The output of a layer is found among them by its values in any order
    of axes, else by the name of the layer.

    Args:
        model: the compressed model; it is only read.
        path: a file for ONNX Runtime (``.onnx``), OpenVINO (``.xml``) or LiteRT (``.tflite``).
        data: samples, as for ``kc.Dataset``. Default: as for :func:`~keras_compress.export.export_model`.
        save_format, input_names, output_names, input_shapes: as for :func:`~keras_compress.export.audit`.
        min_sqnr: below this a layer departs, in dB. Default 20, and 10 on samples that were drawn.
        fed: also feed every layer of the file what it reads in the model, and measure the error that it makes by itself.
            Takes about twice as long. Default False.
        trust: as for :func:`~keras_compress.export.audit`; the formats that can be compared hold no code.

    Raises:
        ExportError: the file cannot be run, its runtime does not tell what is inside, or samples of a text input are missing.

    Example::

        kc.export_model(compressed, "model.tflite", strict=False)
        print(kc.compare(compressed, "model.tflite", images).reason)
    """
    require_graph(model)
    path = checked_path("path", path, ExportError, exists=True)
    if min_sqnr is not None:
        min_sqnr = number("min_sqnr", min_sqnr, kind=ExportError)
    fed = flag("fed", fed)
    samples = audit_samples(model, data, fixed_shapes(model, input_shapes, input_names))
    if samples is None:
        raise ExportError(f"The model '{model.name}' takes text, for which no samples can be drawn. Pass data=.")
    names = tensor_names(model, input_names, output_names)
    least = Limits().least_sqnr(samples.source) if min_sqnr is None else min_sqnr
    with trusting(trust):
        return compare_layers(model, path, format_of(path, save_format), names, samples, least, fed=fed)


def compare_layers(
    model: keras.Model,
    path: Path,
    form: Format,
    names: TensorNames,
    samples: AuditSamples,
    min_sqnr: float,
    *,
    fed: bool = False,
) -> LayerComparison:
    """Compare a file of a format with its model on samples that were chosen, layer by layer; see :func:`compare`.

    Args:
        model: the compressed model the file was made from.
        path: the file.
        form: its format.
        names: of its inputs and outputs.
        samples: on which layers are compared.
        min_sqnr: below this a layer departs, in dB.
    """
    count = fixed_batch(input_specs(model)) or min(SAMPLES, len(samples.inputs[0]))
    arrays = [filled_up(array, count) for array in samples.inputs]
    layers = dict(leaf_layers(model))
    with explained(f"'{path}' cannot be compared layer by layer", layers=list(layers)):
        inside = isolated_tensors(form, path, names, arrays)
    arrays = [filled_up(array, inside.samples) for array in arrays]
    outputs = _layer_outputs(model, arrays)
    found_by_layer = [matched(name, values, inside.tensors, _levels(layers[_path(name)])) for name, values in outputs]
    matches = [match for match in found_by_layer if match is not None]
    errors: dict[str, FedError] = {}
    certain: set[str] = set()
    if fed:
        with explained(f"'{path}' cannot be fed layer by layer", layers=list(layers)):
            apart = FedLayers(model, outputs, matches, inside.tensors, path, form, names, arrays)
        matches, errors, certain = apart.matches, apart.errors, apart.certain
    rows = [_departure(match, errors.get(match.layer)) for match in matches]
    if all(isinstance(layers[_path(row.layer)], FakeQuantize) for row in rows):  # that of the input is in any file
        raise ExportError(
            f"No layer of the model '{model.name}' was found in '{path}'. Expected: a file that was exported from this model. "
            f"Received: one with {len(inside.tensors)} tensors of other shapes or values. Pass the model it was made from."
        )
    readers = _readers(model)
    rows = _without_fused(rows, readers, min_sqnr, certain)
    first = next((_path(row.layer) for row in rows if row.departs(min_sqnr)), None)
    found = dict.fromkeys((_path(row.layer) for row in rows), True)
    hidden = [layer for layer, _ in outputs if layer not in found and first in _next_found(layer, readers, found)]
    return LayerComparison(
        path, inside.samples, len(outputs), tuple(rows), tuple(hidden), min_sqnr, fed=fed, cut=inside.cut
    )


def _without_fused(
    rows: Sequence[LayerDeparture], readers: Mapping[str, set[str]], min_sqnr: float, certain: Collection[str] = ()
) -> list[LayerDeparture]:
    """Leave out layers that depart and of whose next layers one is clearly right: no departure is cured behind it.

    Their output is inside of a fused operation of the file, and what was found is another tensor; those that are certain stay,
    and quantizers whose grid was seen.
    """
    right = {_path(row.layer): -np.inf if row.departs(min_sqnr) else row.sqnr for row in rows}
    kept = []
    for row in reversed(rows):
        layer = _path(row.layer)
        behind = [right[reader] for reader in _next_found(layer, readers, right)]
        sure = row.layer in certain or row.is_on_another_grid
        if sure or not row.departs(min_sqnr) or max(behind, default=-np.inf) < row.sqnr + CURED:
            kept.append(row)
        else:
            right.pop(layer, None)
    return kept[::-1]


def _readers(model: keras.Model) -> dict[str, set[str]]:
    """Return the layers that read the outputs of every layer."""
    graph = ModelGraph(take(model))
    readers: dict[str, set[str]] = {}
    for ref in graph.nodes:
        found = graph.successors(TensorRef(ref.layer, ref.node, 0))
        readers.setdefault(ref.layer, set()).update(reader.layer for reader in found)
    return readers


def _next_found(layer: str, readers: Mapping[str, set[str]], found: Mapping[str, Any]) -> set[str]:
    """Return the first layers behind a layer whose outputs were found in the file."""
    waiting, seen = [layer], {layer}
    first: set[str] = set()
    while waiting:
        for reader in readers.get(waiting.pop(), set()) - seen:
            seen.add(reader)
            (first.add if reader in found else waiting.append)(reader)
    return first


def _path(layer: str) -> str:
    return layer.partition("#")[0]


def _layer_outputs(model: keras.Model, arrays: Sequence[np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Return the float output of every call of a layer, in the order of the calls."""
    seen: list[tuple[str, np.ndarray]] = []

    def see(path: str, outputs: Any) -> None:
        is_float = tf.is_tensor(outputs) and getattr(outputs.dtype, "is_floating", False)
        array = tf.cast(outputs, tf.float32).numpy() if is_float else None
        if array is not None and array.ndim > 1 and array.size:
            seen.append((path, array))

    see_outputs(model, arrays, see)
    counts: dict[str, int] = {}
    named = []
    for path, array in seen:
        counts[path] = counts.get(path, 0) + 1
        named.append((path if counts[path] == 1 else f"{path}#{counts[path]}", array))
    return named


def _departure(match: Match, fed: FedError | None) -> LayerDeparture:
    expected, received = match.expected, match.received
    step = max(float(max(expected.max(), 0) - min(expected.min(), 0)) / 255, 1e-30)
    return LayerDeparture(
        match.layer,
        match.tensor,
        match.sqnr,
        float(np.mean(np.abs(received - expected))) / step,
        float(np.mean(received - expected)) / step if received.size >= MANY else 0.0,
        (float(expected.min()), float(expected.max())),
        (float(received.min()), float(received.max())),
        fed_steps=None if fed is None else fed.mean,
        fed_largest=None if fed is None else fed.largest,
        step=match.step,
    )


def _levels(layer: keras.layers.Layer) -> int | None:
    """Return the levels of a quantizer with one grid."""
    return 2**layer.num_bits if isinstance(layer, FakeQuantize) and not layer.per_channel else None
