"""Bring a model of mixed or double precision to float32, the precision that runtimes start from."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_compress.graph.snapshot import ModelSnapshot, entries

__all__ = ["to_float32"]

_FLOATS = {"float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16"}


def to_float32(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Return the model with every floating point policy and weight in float32; integers stay."""
    edited = snapshot.edited()
    for _, entry in entries(edited.config):
        entry["config"] = _with_float32(entry["config"])
    weights = {
        path: {name: _float32(array) for name, array in arrays.items()} for path, arrays in edited.weights.items()
    }
    return edited.with_weights(weights)


def _with_float32(structure: Any) -> Any:
    if isinstance(structure, dict):
        return {
            key: "float32" if key == "dtype" and _policy_name(value) in _FLOATS else _with_float32(value)
            for key, value in structure.items()
        }
    if isinstance(structure, (list, tuple)):
        return type(structure)(_with_float32(item) for item in structure)
    return structure


def _policy_name(value: Any) -> Any:
    return value.get("config", {}).get("name") if isinstance(value, dict) else value


def _float32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.kind in "fV" else array
