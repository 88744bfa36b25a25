"""ModelSize: how many bytes a model takes, dense, packed by gzip, and with its zeros left out."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from keras_compress._keras import keras
from keras_compress.graph.variables import leaf_layers, named_variables
from keras_compress.layers import CompressedLayer, WeightOp

__all__ = ["ModelSize", "measure_size"]


@dataclass(frozen=True)
class ModelSize:
    """Bytes of the weights of a model.

    Attributes:
        float32: every weight as float32, as before compression.
        dense: every weight in the bits of its grid, float32 where it has none.
        gzip: the dense bytes packed by gzip.
        sparse: weights with zeros as one bit per weight that says where the others stand, and those; others dense.
    """

    float32: int
    dense: int
    gzip: int
    sparse: int

    def __str__(self) -> str:
        sizes = (f"{name} {_readable(getattr(self, name))}" for name in ("float32", "dense", "gzip", "sparse"))
        return "bytes of the weights: " + ", ".join(sizes)


def measure_size(model: keras.Model) -> ModelSize:
    """Return the size of a compressed model; gzip takes about five seconds per 100 MB.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> measure_size(model).float32
        40
    """
    float32 = dense = sparse = 0
    stored: list[bytes] = []
    for values, num_bits, original in _stored_weights(model):
        packed = _packed(values, num_bits)
        float32 += 4 * values.size * original
        dense += len(packed)
        nonzero = int(np.count_nonzero(values))
        sparse += min(len(packed), -(-values.size // 8) - (-nonzero * num_bits // 8))
        stored.append(packed)
    return ModelSize(float32, dense, len(gzip.compress(b"".join(stored))), sparse)


def _stored_weights(model: keras.Model) -> Iterator[tuple[np.ndarray, int, bool]]:
    """Yield every array a file has to hold, as integers if it is on a grid, its bits, and whether the float model has it."""
    for _, layer in leaf_layers(model):
        if isinstance(layer, WeightOp):
            continue
        compressed = set(layer.weight_paths) if isinstance(layer, CompressedLayer) else set()
        inner = layer.layer if isinstance(layer, CompressedLayer) else layer
        for path, variable in named_variables(inner).items():
            if path not in compressed:
                yield variable.numpy(), 32, True
                continue
            integers = layer.integer_weight(path)
            if integers is None:
                yield layer.compressed_weight(path).numpy(), 32, True
            else:
                yield integers.values.astype(np.int32) - integers.zero_point, integers.num_bits, True
                yield integers.scale, 32, False


def _packed(values: np.ndarray, num_bits: int) -> bytes:
    """Return the numbers in ``num_bits`` each, two to a byte where four bits are enough."""
    if num_bits == 32:
        return np.asarray(values, np.float32).tobytes()
    flat = values.reshape(-1).astype(np.int64)
    if num_bits == 1:
        return np.packbits(flat > 0).tobytes()
    if num_bits == 8:
        return flat.astype(np.uint8).tobytes()
    bits = (flat[:, None] >> np.arange(num_bits)) & 1
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()


def _readable(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
