"""Replace trained operations by what a runtime understands: weights on their grids, and fixed fake quantizers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from keras_compress._keras import keras
from keras_compress.graph.compressed_entry import CompressedEntry, Operation, described, live_operation
from keras_compress.graph.identity import is_operation
from keras_compress.graph.snapshot import ModelSnapshot, entries
from keras_compress.layers import WeightOp, fixed_fits

__all__ = ["fix_activation", "fix_quantizers"]

WEIGHT_BITS = 8


def fix_quantizers(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Return the model for inference in a runtime.

    Every operation on a weight is carried out and gone; where the weight ended on an integer grid, one fixed quantizer
    of eight bits with the same step follows it, since runtimes know only eight-bit containers. An operation on an
    activation becomes what its :meth:`~keras_compress.layers.WeightOp.fixed` returns. One whose class changes what is computed and
    inherits that method has no such replacement: it stays, and a weight is mapped by it once and for all.
    """
    edited = snapshot.edited()
    weights = dict(edited.weights)
    for path, entry in list(entries(edited.config)):
        wrapped = CompressedEntry.of(entry, weights.get(path, {}))
        if wrapped is not None:
            weights[path] = _fixed_layer(wrapped).write_to(entry)
        elif is_operation(entry):
            weights[path] = fix_activation(entry, weights.get(path, {}))
    return edited.with_weights(weights)


def _fixed_layer(wrapped: CompressedEntry) -> CompressedEntry:
    arrays = wrapped.mapped_arrays()
    operations = []
    for operation in wrapped.operations:
        fixed = _fixed(operation.live(arrays[operation.weight].shape), WEIGHT_BITS)
        if fixed is not None:
            layer, numbers = fixed
            operations.append(Operation(operation.weight, described(layer), numbers))
    return CompressedEntry(wrapped.layer, arrays, tuple(operations))


def _fixed(op: WeightOp, num_bits: int | None = None) -> tuple[keras.layers.Layer, Mapping[str, np.ndarray]] | None:
    return op.fixed(num_bits) if fixed_fits(type(op)) else None


def fix_activation(entry: dict, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Make an entry, in place, that of the fixed operation, with the same name and place in the graph; return its arrays."""
    shapes = [array.shape for array in arrays.values() if array.ndim]  # of the variables, whatever the input's shape
    fixed = _fixed(live_operation(entry, shapes[0] if shapes else (1,), arrays))
    if fixed is None:
        return arrays
    layer, numbers = fixed
    name = entry["config"]["name"]
    entry.update(described(layer))
    entry["config"]["name"] = name
    return numbers
