"""Fold batch normalization into the convolution before it: one operation for a runtime instead of two.

The weights stay on their integer grids: a channel's factor goes into its scale, its sign into its integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from keras_compress.graph.batch_norm_fusion import foldable_batch_norms
from keras_compress.graph.compressed_entry import CompressedEntry
from keras_compress.graph.layer_spec import WeightSpec
from keras_compress.graph.snapshot import ModelSnapshot, entries
from keras_compress.graph.view import ModelGraph

__all__ = ["fold_batch_norm"]


def fold_batch_norm(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Return the model without the batch normalizations that directly follow a convolution with linear activation.

    It is for a model whose quantizers :func:`~keras_compress.graph.passes.fix_quantizers.fix_quantizers` has fixed. A
    folded layer gets a bias, and an identity takes the place of the normalization, so that names and edges stay. The
    outputs are those of before, up to rounding.
    """
    edited = snapshot.edited()
    weights = dict(edited.weights)
    by_path = dict(entries(edited.config))
    graph = ModelGraph(snapshot)
    specs = {path: node.spec for path, node in graph.layers()}
    for path, layers in foldable_batch_norms(graph).items():
        factor, shift = _factor_and_shift(by_path[path]["config"], weights.pop(path))
        for layer in layers:
            [kernel] = specs[layer].weights
            weights[layer] = _fold(by_path[layer], weights[layer], kernel, factor, shift)
        _become_identity(by_path[path])
    return edited.with_weights(weights)


def _factor_and_shift(config: dict, arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return what normalization multiplies each channel by and adds to it, in float64."""
    mean, variance = (arrays[name].astype(np.float64) for name in ("moving_mean", "moving_variance"))
    factor = arrays.get("gamma", np.float64(1)) / np.sqrt(variance + config["epsilon"])
    return factor, arrays.get("beta", np.float64(0)) - mean * factor


def _fold(
    entry: dict, arrays: Mapping[str, np.ndarray], kernel: WeightSpec, factor: np.ndarray, shift: np.ndarray
) -> dict[str, np.ndarray]:
    """Scale the kernel, bias and quantizers of an entry, in place; return its arrays."""
    wrapped = CompressedEntry.of(entry, arrays) or CompressedEntry.wrapping(entry, arrays, ())
    values = wrapped.arrays[kernel.path]
    axes = sorted(axis % values.ndim for axis in kernel.channel_axes)
    shape = [size if axis in axes else 1 for axis, size in enumerate(values.shape)]
    bias = wrapped.arrays.get("bias", np.float64(0))
    folded = {
        kernel.path: (values * factor.reshape(shape)).astype(values.dtype),
        "bias": (bias * factor + shift).astype(values.dtype),
    }
    operations = []
    for operation in wrapped.operations:
        low, high = _scaled_range(operation.arrays["low"], operation.arrays["high"], factor)
        settings = {**operation.settings, "channel_axes": [axis - values.ndim for axis in axes]}
        description = {**operation.description, "config": settings}
        operations.append(replace(operation, description=description, arrays={"low": low, "high": high}))
    layer = {**wrapped.layer, "config": {**wrapped.layer["config"], "use_bias": True}}
    return CompressedEntry(layer, {**wrapped.arrays, **folded}, tuple(operations)).write_to(entry)


def _scaled_range(low: np.ndarray, high: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of a range per channel after multiplication; a channel that becomes zero keeps its range."""
    factor = np.where(factor == 0, 1.0, factor)
    ends = np.stack([low * factor, high * factor])
    return ends.min(axis=0).astype(np.float32), ends.max(axis=0).astype(np.float32)


def _become_identity(entry: dict) -> None:
    """Make an entry that of a layer that passes its input on; its name and place in the graph stay."""
    entry.update(module="keras.layers", class_name="Activation", registered_name=None)
    entry["config"] = {"name": entry["config"]["name"], "dtype": "float32", "activation": "linear"}
