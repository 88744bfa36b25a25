"""On which samples a file is compared with the model: the user's, those registered for calibration, or drawn ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_compress._keras import keras
from keras_compress.calibration.calibration_record import calibration_of
from keras_compress.data import Dataset, InputSpec, input_specs
from keras_compress.graph import ModelGraph, TensorRef, take
from keras_compress.graph.integer_computation import is_quantizer
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import FakeQuantize

__all__ = ["AuditSamples", "audit_samples"]

#: Samples that are compared by default, and at most if the user gives more.
DEFAULT, MOST = 64, 1000
#: Size of an open axis of drawn samples.
OPEN = 16


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


def audit_samples(model: keras.Model, data: Any = None) -> AuditSamples | None:
    """Return the samples on which the files of a model are compared with it.

    Args:
        model: the compressed model.
        data: the user's samples, as for ``kc.Dataset``; at most 1,000 are used. Default: registered samples, of which those that
            calibrated come last, else drawn ones, 64 in all.

    Returns:
        The samples; None if an input takes text, for which none can be drawn.
    """
    if data is not None:
        return AuditSamples("data", _first(Dataset.of(data), model, 0, MOST))
    record = calibration_of(model)
    if record is not None:
        others = _first(record.data, model, record.samples, DEFAULT)
        if len(others[0]):
            return AuditSamples("registered", others)
        return AuditSamples("calibration", _first(record.data, model, 0, DEFAULT))
    specs = input_specs(model)
    if any(spec.dtype == "string" for spec in specs):
        return None
    graph, layers = ModelGraph(take(model)), dict(leaf_layers(model))
    random = np.random.default_rng(0)
    return AuditSamples("drawn", tuple(_drawn(spec, graph, layers, random) for spec in specs))


def _first(data: Dataset, model: keras.Model, skipped: int, count: int) -> tuple[np.ndarray, ...]:
    """Return ``count`` samples, or as many as there are, after the first ``skipped``; all of the same open sizes."""
    specs = input_specs(model)
    parts: list[tuple[np.ndarray, ...]] = []
    seen = 0
    for batch in data.batches(specs, 32, skipped + count):
        start = max(skipped - seen, 0)
        part = tuple(array[start : batch.samples] for array in batch.inputs)
        if not parts or all(one.shape[1:] == other.shape[1:] for one, other in zip(part, parts[0], strict=True)):
            parts.append(part)
        seen += batch.samples
    joined = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return tuple(
        array if spec.dtype == "string" else array.astype(spec.dtype) for array, spec in zip(joined, specs, strict=True)
    )


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
