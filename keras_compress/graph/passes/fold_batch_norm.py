"""Fold batch normalization into the convolution before it: one operation for a runtime instead of two.

The weights stay on their integer grids: a channel's factor goes into its scale, its sign into its integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from keras_compress.graph.layer_specs import spec_of
from keras_compress.graph.snapshot import ModelSnapshot, entries
from keras_compress.graph.view import GraphNode, ModelGraph, TensorRef
from keras_compress.layers.compressed_layer import REGISTERED_NAME

__all__ = ["fold_batch_norm"]

#: Rank of the input of each class that a batch normalization can be folded into.
_RANKS = {f"Conv{rank}D{kind}": rank + 2 for rank in (1, 2, 3) for kind in ("", "Transpose")}
_RANKS |= {"DepthwiseConv1D": 3, "DepthwiseConv2D": 4}
#: Layers that do nothing at inference.
_INERT = {"Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianNoise", "GaussianDropout"}
#: Layers that make a tensor of rank two, and layers that leave the rank as it is.
_FLATTENING = {"Flatten", *(f"Global{kind}Pooling{rank}D" for kind in ("Average", "Max") for rank in (1, 2, 3))}
_KEEPING_RANK = {
    "Dense",
    "Activation",
    "ReLU",
    "Dropout",
    "BatchNormalization",
    "SymmetricFakeQuantize",
    "FixedFakeQuantize",
}


def fold_batch_norm(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Return the model without the batch normalizations that directly follow a convolution with linear activation.

    It is for a model whose quantizers :func:`~keras_compress.graph.passes.fix_quantizers.fix_quantizers` has fixed. A
    folded layer gets a bias, and an identity takes the place of the normalization, so that names and edges stay. The
    outputs are those of before, up to rounding.
    """
    graph = ModelGraph(snapshot)
    calls: dict[str, list[GraphNode]] = {}
    for node in graph.nodes.values():
        calls.setdefault(node.ref.layer, []).append(node)
    edited = snapshot.edited()
    weights = dict(edited.weights)
    by_path = dict(entries(edited.config))
    for path, nodes in calls.items():
        if nodes[0].class_name != "BatchNormalization" or not nodes[0].stock:
            continue
        convolutions = [_convolution_before(graph, node, by_path, calls) for node in nodes]
        if None in convolutions or len(set(convolutions)) < len(convolutions):
            continue
        factor, shift = _factor_and_shift(nodes[0].config, weights.pop(path))
        for convolution in filter(None, convolutions):
            weights[convolution] = _fold(by_path[convolution], weights[convolution], factor, shift)
        _become_identity(by_path[path])
    return ModelSnapshot(edited.config, weights, edited.custom_objects)


def _convolution_before(
    graph: ModelGraph, normalization: GraphNode, by_path: Mapping[str, dict], calls: Mapping[str, Sequence[GraphNode]]
) -> str | None:
    """Return the layer that a call of a normalization can be folded into, behind layers that do nothing at inference.

    Nobody else may read what it makes, and it may be called only once.
    """
    reader, tensor = normalization, normalization.inputs[0]
    while True:
        node = graph.producer(tensor)
        if graph.consumers(tensor) != (reader.ref,) or not node.inputs:
            return None
        if not (node.stock and _is_inert(node)):
            break
        reader, tensor = node, node.inputs[0]
    inner = _inner(by_path[node.ref.layer])
    if len(calls[node.ref.layer]) != 1 or not _is_foldable(inner):
        return None
    rank = _RANKS.get(inner["class_name"]) or _rank_of_output(graph, tensor)
    return node.ref.layer if _axis(normalization) in (-1, rank and rank - 1) else None


def _is_inert(node: GraphNode) -> bool:
    return node.class_name in _INERT or (node.class_name == "Activation" and node.config["activation"] == "linear")


def _inner(entry: dict) -> dict:
    """Return the description of a layer, of the one inside if it is wrapped."""
    return entry["config"]["layer"] if entry.get("registered_name") == REGISTERED_NAME else entry


def _is_foldable(inner: dict) -> bool:
    if not (inner.get("module") or "").startswith(("keras", "tf_keras")) or inner["class_name"] not in {
        *_RANKS,
        "Dense",
    }:
        return False
    return inner["config"].get("activation") == "linear" and inner["config"].get("data_format") != "channels_first"


def _rank_of_output(graph: ModelGraph, tensor: TensorRef) -> int | None:
    """Return the rank of a tensor, as far as the way back to a layer of known rank is simple; else None."""
    while True:
        node = graph.producer(tensor)
        class_name = node.config["layer"]["class_name"] if node.class_name == "CompressedLayer" else node.class_name
        if class_name in _FLATTENING and not node.config.get("keepdims"):
            return 2
        shape = node.config.get("batch_input_shape")
        if class_name == "InputLayer" and shape is not None:
            return len(shape)
        if class_name not in _KEEPING_RANK or len(node.inputs) != 1:
            return None
        tensor = node.inputs[0]


def _axis(normalization: GraphNode) -> int | None:
    axes = normalization.config["axis"]
    axes = list(axes) if isinstance(axes, Sequence) else [axes]
    return axes[0] if len(axes) == 1 else None


def _factor_and_shift(config: dict, arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return what normalization multiplies each channel by and adds to it, in float64."""
    mean, variance = (arrays[name].astype(np.float64) for name in ("moving_mean", "moving_variance"))
    factor = arrays.get("gamma", np.float64(1)) / np.sqrt(variance + config["epsilon"])
    return factor, arrays.get("beta", np.float64(0)) - mean * factor


def _fold(
    entry: dict, arrays: Mapping[str, np.ndarray], factor: np.ndarray, shift: np.ndarray
) -> dict[str, np.ndarray]:
    """Scale the kernel, bias and quantizers of an entry; return its arrays."""
    inner = _inner(entry)
    wrapped = inner is not entry
    prefix = "layer." if wrapped else ""
    [kernel] = spec_of(inner["class_name"], inner["config"]).weights
    arrays = dict(arrays)
    values = arrays[prefix + kernel.path]
    axes = sorted(axis % values.ndim for axis in kernel.channel_axes)
    shape = [size if axis in axes else 1 for axis, size in enumerate(values.shape)]
    arrays[prefix + kernel.path] = (values * factor.reshape(shape)).astype(values.dtype)
    bias = arrays.get(prefix + "bias", np.float64(0))
    arrays[prefix + "bias"] = (bias * factor + shift).astype(values.dtype)
    inner["config"]["use_bias"] = True
    if wrapped:
        for index, (_, description) in enumerate(entry["config"]["operations"]):
            ends = f"weight_ops.{index}.low", f"weight_ops.{index}.high"
            low, high = _scaled_range(arrays[ends[0]], arrays[ends[1]], factor)
            arrays.update(zip(ends, (low, high), strict=True))
            description["config"]["channel_axes"] = [axis - values.ndim for axis in axes]
    return arrays


def _scaled_range(low: np.ndarray, high: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of a range per channel after multiplication; a channel that becomes zero keeps its range."""
    factor = np.where(factor == 0, 1.0, factor)
    ends = np.stack([low * factor, high * factor])
    return ends.min(axis=0).astype(np.float32), ends.max(axis=0).astype(np.float32)


def _become_identity(entry: dict) -> None:
    """Make an entry that of a layer that passes its input on; its name and place in the graph stay."""
    entry.update(module="keras.layers", class_name="Activation", registered_name=None)
    entry["config"] = {"name": entry["config"]["name"], "dtype": "float32", "activation": "linear"}
