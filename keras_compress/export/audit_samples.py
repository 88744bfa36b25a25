"""On which samples a file is compared with the model: the user's, those registered for calibration, or drawn ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_compress._keras import keras
from keras_compress.calibration.calibration_record import calibration_of
from keras_compress.data import Dataset, InputSpec, input_specs
from keras_compress.errors import ExportError
from keras_compress.graph import ModelGraph, TensorRef, take
from keras_compress.graph.integer_computation import is_quantizer
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import FakeQuantize

__all__ = ["AuditSamples", "audit_samples"]

#: Samples that are compared by default, and at most if the user gives more.
DEFAULT, MOST = 64, 1000
#: Size of an open axis of drawn samples.
OPEN = 16

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class AuditSamples:
    """Samples for an audit.

    Attributes:
        source: ``"data"``: the user's; ``"registered"``: registered samples that did not calibrate; ``"calibration"``: samples
            that did; ``"drawn"``: random ones that fit the inputs.
        inputs: one array per input, in the order of the model.
    """

    source: str
    inputs: tuple[np.ndarray, ...]


def audit_samples(
    model: keras.Model, data: Any = None, shapes: Sequence[Sequence[int | None]] | None = None
) -> AuditSamples | None:
    """Return the samples on which the files of a model are compared with it.

    Args:
        model: the compressed model.
        data: the user's samples, as for ``kc.Dataset``; at most 1,000 are used. Default: registered samples, of which those that
            calibrated come last, else drawn ones, 64 in all.
        shapes: the shapes of the inputs of the file, without the batch, where it fixes sizes that the model leaves open; samples
            of other sizes are left out. Default: those of the model.

    Returns:
        The samples; None if an input takes text, for which none can be drawn.

    Raises:
        ExportError: none of the user's samples has the sizes that the file fixes.
    """
    specs = input_specs(model)
    wanted = [spec.shape for spec in specs] if shapes is None else [tuple(shape) for shape in shapes]
    if data is not None:
        given = _first(Dataset.of(data), specs, wanted, 0, MOST)
        if given is None:
            raise ExportError(
                f"None of the samples of 'data' fits the file of the model '{model.name}'. Expected: samples of the shapes {wanted}, "
                "as the file fixes them. Received: others. Pass samples of these shapes, or export without input_shapes."
            )
        return AuditSamples("data", given)
    record = calibration_of(model)
    if record is not None:
        others = _first(record.data, specs, wanted, record.samples, DEFAULT)
        if others is not None:
            return AuditSamples("registered", others)
        used = _first(record.data, specs, wanted, 0, DEFAULT)
        if used is not None:
            return AuditSamples("calibration", used)
    if any(spec.dtype == "string" for spec in specs):
        return None
    graph, layers = ModelGraph(take(model)), dict(leaf_layers(model))
    random = np.random.default_rng(0)
    drawn = [
        _drawn(replace(spec, shape=shape), graph, layers, random) for spec, shape in zip(specs, wanted, strict=True)
    ]
    return AuditSamples("drawn", tuple(drawn))


def _first(
    data: Dataset, specs: Sequence[InputSpec], wanted: Sequence[Shape], skipped: int, count: int
) -> tuple[np.ndarray, ...] | None:
    """Return ``count`` samples, or as many as there are, after the first ``skipped``; all of the same open sizes."""
    parts: list[tuple[np.ndarray, ...]] = []
    seen = 0
    for batch in data.batches(specs, 32, skipped + count):
        start = max(skipped - seen, 0)
        seen += batch.samples
        part = tuple(array[start : batch.samples] for array in batch.inputs)
        if start < batch.samples and all(
            _fits(array.shape[1:], shape) for array, shape in zip(part, wanted, strict=True)
        ):
            parts.append(part)
            wanted = [array.shape[1:] for array in part]
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True)) if parts else None


def _fits(sizes: Shape, wanted: Shape) -> bool:
    return all(want in (None, size) for size, want in zip(sizes, wanted, strict=True))


def _drawn(spec: InputSpec, graph: ModelGraph, layers: dict[str, Any], random: np.random.Generator) -> np.ndarray:
    """Return samples of one input: numbers that its first layers expect."""
    shape = (DEFAULT, *(size or OPEN for size in spec.shape))
    if spec.dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if not spec.dtype.startswith(("float", "bfloat")):
        return random.integers(0, _choices(spec.name, graph), shape).astype(spec.dtype)
    low, high = _range_behind(TensorRef(spec.name, 0, 0), graph, layers) or (None, None)
    values = random.normal(size=shape) if low is None or high is None else random.uniform(low, high, shape)
    return values.astype(np.float32)


def _choices(name: str, graph: ModelGraph) -> int:
    """Return how many integers an input may hold, by the table that reads it."""
    for ref in graph.successors(TensorRef(name, 0, 0)):
        config = graph.nodes[ref].config if ref in graph.nodes else {}
        for key in ("input_dim", "num_tokens", "num_bins"):
            if isinstance(config.get(key), int):
                return config[key]
    return 2


def _range_behind(tensor: TensorRef, graph: ModelGraph, layers: dict[str, Any]) -> tuple[float, float] | None:
    """Return the range of the quantizer that reads a tensor, looked for behind layers that only scale or move values."""
    for ref in graph.successors(tensor):
        node = graph.nodes.get(ref)
        if node is None:
            continue
        layer = layers.get(ref.layer)
        if is_quantizer(node) and isinstance(layer, FakeQuantize):
            low, high = (float(np.asarray(end).reshape(-1).min()) for end in layer.range())
            return low, high
        found = _range_behind(TensorRef(*ref, 0), graph, layers) if _is_looked_through(node) else None
        if found is not None and node.is_a("Rescaling"):
            scale, offset = np.mean(node.config["scale"]), np.mean(node.config["offset"])
            ends = sorted((end - offset) / scale for end in found) if scale else found
            return float(ends[0]), float(ends[1])
        if found is not None:
            return found
    return None


def _is_looked_through(node: Any) -> bool:
    return node.is_a("Rescaling") or node.spec.moves_values
