"""Replace trained operations by what a runtime understands: weights on their grids, and fixed fake quantizers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from keras_compress._keras import keras, serialize
from keras_compress.graph.passes.strip import compressed_arrays, load_op, unwrap
from keras_compress.graph.snapshot import ModelSnapshot, entries
from keras_compress.layers import (
    AsymmetricFakeQuantize,
    BinaryActivation,
    FakeQuantize,
    FixedFakeQuantize,
    FixedThreshold,
    SymmetricFakeQuantize,
)
from keras_compress.layers.compressed_layer import REGISTERED_NAME

__all__ = ["fix_quantizers"]

WEIGHT_BITS = 8
_QUANTIZERS = {keras.saving.get_registered_name(cls) for cls in (SymmetricFakeQuantize, AsymmetricFakeQuantize)}

_BINARY_ACTIVATION = keras.saving.get_registered_name(BinaryActivation)


def fix_quantizers(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Return the model for inference in a runtime.

    Every operation on a weight is carried out and gone; where the weight ended on an integer grid, one fixed quantizer
    of eight bits with the same step follows it, since runtimes know only eight-bit containers. Every activation
    quantizer becomes a fixed one, and so does every binary activation that is active.
    """
    edited = snapshot.edited()
    weights = dict(edited.weights)
    for path, entry in list(entries(edited.config)):
        if entry.get("registered_name") == REGISTERED_NAME:
            _fix_layer(path, entry, weights)
        elif entry.get("registered_name") in _QUANTIZERS:
            arrays = weights[path]
            op = _living_quantizer(entry, arrays)
            fixed, low, high = _fixed(op, op.num_bits)
            weights[path] = {"low": low, "high": high}
            _replace(entry, fixed)
        elif entry.get("registered_name") == _BINARY_ACTIVATION:
            weights[path] = _fix_binary_activation(entry, weights[path])
    return ModelSnapshot(edited.config, weights, edited.custom_objects)


def _fix_layer(path: str, entry: dict, weights: dict) -> None:
    config, arrays = entry["config"], weights[path]
    inner = compressed_arrays(config, arrays)
    operations: list = []
    fixed_arrays: dict[str, np.ndarray] = {}
    for index, (weight, description) in enumerate(config["operations"]):
        op = load_op(description, inner[weight].shape, arrays, f"weight_ops.{index}.")
        if isinstance(op, FakeQuantize):
            fixed, low, high = _fixed(op, WEIGHT_BITS)
            prefix = f"weight_ops.{len(operations)}."
            fixed_arrays.update({prefix + "low": low, prefix + "high": high})
            operations.append([weight, serialize(fixed)])
    if operations:
        config["operations"] = operations
        weights[path] = {**{f"layer.{name}": array for name, array in inner.items()}, **fixed_arrays}
    else:
        unwrap(entry)
        weights[path] = inner


def _replace(entry: dict, layer: keras.layers.Layer) -> None:
    """Make an entry that of another layer, with the same name and place in the graph."""
    name, description = entry["config"]["name"], serialize(layer)
    entry.update({key: description[key] for key in ("module", "class_name", "registered_name", "config")})
    entry["config"]["name"] = name


def _fix_binary_activation(entry: dict, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Replace a trained binary activation by a fixed one, or by nothing if it is not active; return its arrays."""
    description = {key: value for key, value in entry.items() if key != "inbound_nodes"}
    op = load_op(description, arrays["threshold_logits"].shape, arrays, "")
    if not op.active.numpy():
        _replace(entry, keras.layers.Activation("linear"))
        return {}
    scale, thresholds = op.levels()
    _replace(entry, FixedThreshold())
    return {"thresholds": (scale * thresholds).numpy(), "scale": scale.numpy()}


def _living_quantizer(entry: dict, arrays: Mapping[str, np.ndarray]) -> FakeQuantize:
    """Make the quantizer of a layer entry; its variables are as large as its arrays, whatever the input's shape."""
    description = {key: value for key, value in entry.items() if key != "inbound_nodes"}
    shapes = [array.shape for array in arrays.values() if array.ndim]
    return load_op(description, shapes[0] if shapes else (1,), arrays, "")


def _fixed(op: FakeQuantize, num_bits: int) -> tuple[FixedFakeQuantize, np.ndarray, np.ndarray]:
    """Return a fixed quantizer of ``num_bits`` with the step and zero point of ``op``, and its ends per channel."""
    low, high = (value.numpy().reshape(-1) for value in op.range())
    if num_bits != op.grid_bits:
        low, high = _widened(op, num_bits)
    if not op.per_channel:
        low, high = low[0], high[0]
    return FixedFakeQuantize(num_bits, op.narrow_range, op.channel_axes, name=op.name), low, high


def _widened(op: FakeQuantize, num_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of a grid of ``num_bits`` with the zero point of ``op`` and, to the last bit, its step."""
    scale, zero_point = (value.reshape(-1) for value in op.integer_range())
    steps = np.float32(2**num_bits - (2 if op.narrow_range else 1))
    offset = np.full_like(zero_point, 2 ** (num_bits - 1) - 1) if op.narrow_range else zero_point
    low = (-offset * scale.astype(np.float64)).astype(np.float32)
    high = ((steps - offset) * scale.astype(np.float64)).astype(np.float32)
    for _ in range(8):
        error = (high - low) / steps - scale
        toward = np.where(error > 0, -np.inf, np.inf).astype(np.float32)
        high = np.where(error == 0, high, np.nextafter(high, toward))
    return low, high
