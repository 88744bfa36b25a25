"""Split separable convolutions into a depthwise and a pointwise convolution.

A separable convolution is two convolutions with nothing between them; a runtime computes both in integers only if the
tensor between them is quantized too. As two layers that tensor has a place in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from keras_compress.graph.identity import is_builtin
from keras_compress.graph.names import unused_name
from keras_compress.graph.snapshot import ModelSnapshot, is_model_entry
from keras_compress.graph.view import first_call

__all__ = ["split_separable"]

_DEPTHWISE_KEYS = {"strides", "padding", "depth_multiplier", "dilation_rate", "depthwise_initializer"}
_DEPTHWISE_KEYS |= {"depthwise_regularizer", "depthwise_constraint"}
_POINTWISE_KEYS = {"use_bias", "activation", "bias_initializer", "bias_regularizer", "bias_constraint", "filters"}
_SHARED_KEYS = {"trainable", "dtype", "data_format"}


def split_separable(snapshot: ModelSnapshot, allowed: Callable[[str], bool]) -> ModelSnapshot:
    """Return the model with the separable convolutions at the allowed paths split.

    ``SeparableConv2D`` named ``"conv"`` becomes ``DepthwiseConv2D`` named ``"conv_depthwise"`` and ``Conv2D`` named
    ``"conv"`` with a 1x1 kernel; the outputs are the same, and edges from ``"conv"`` stay valid. Causal padding, which depthwise
    convolutions do not have, becomes a layer ``"conv_padding"`` before them.

    Args:
        snapshot: the model.
        allowed: whether the layer at a path may be split.
    """
    edited = snapshot.edited()
    weights = dict(edited.weights)
    _split_model(edited.config["config"], "", allowed, weights)
    return edited.with_weights(weights)


def _split_model(config: dict, prefix: str, allowed: Callable[[str], bool], weights: dict) -> None:
    layers = []
    names = {entry["config"]["name"] for entry in config["layers"]}
    for entry in config["layers"]:
        path = prefix + entry["config"]["name"]
        if _is_splittable(entry) and allowed(path):
            name = unused_name(entry["config"]["name"] + "_depthwise", names)
            parts = _split(entry, name)
            if entry["config"].get("padding") == "causal":
                padding = unused_name(entry["config"]["name"] + "_padding", names)
                weights[prefix + padding] = {}
                parts = [_padding(parts[0], padding, _calls(entry)), *parts]
            arrays = dict(weights[path])
            weights[prefix + name] = {"depthwise_kernel": arrays.pop("depthwise_kernel")}
            weights[path] = {"kernel": arrays.pop("pointwise_kernel"), **arrays}
            layers += parts
            continue
        layers.append(entry)
        if is_model_entry(entry):
            _split_model(entry["config"], path + "/", allowed, weights)
    config["layers"] = layers


def _is_splittable(entry: dict) -> bool:
    return is_builtin(entry) and entry["class_name"] in ("SeparableConv1D", "SeparableConv2D")


def _padding(depthwise: dict, name: str, calls: Sequence[int]) -> dict:
    """Return the layer that pads sequences for a causal depthwise convolution, which then reads it and pads no more."""
    config = depthwise["config"]
    [size], [rate] = np.atleast_1d(config["kernel_size"]), np.atleast_1d(config["dilation_rate"])
    config["padding"] = "valid"
    shared = {key: config[key] for key in _SHARED_KEYS & {"trainable", "dtype"} if key in config}
    margins = [int((size - 1) * rate), 0]
    padding: dict = {
        "module": "keras.layers",
        "class_name": "ZeroPadding1D",
        "config": {"name": name, "padding": margins, **shared},
        "registered_name": None,
    }
    if "inbound_nodes" in depthwise:
        padding |= {"name": name, "inbound_nodes": depthwise["inbound_nodes"]}
        depthwise["inbound_nodes"] = [[[name, call, 0, {}]] for call in calls]
    return padding


def _calls(entry: dict) -> Sequence[int]:
    """Return the numbers of the calls of a layer."""
    first = first_call(entry)
    return range(first, first + len(entry.get("inbound_nodes", ())))


def _split(entry: dict, depthwise_name: str) -> list[dict]:
    rank = entry["class_name"].removeprefix("SeparableConv")
    config = entry["config"]
    name = config["name"]
    shared = {key: config[key] for key in _SHARED_KEYS if key in config}
    first = {key: config[key] for key in _DEPTHWISE_KEYS if key in config}
    first |= {"name": depthwise_name, "kernel_size": config["kernel_size"], "use_bias": False, **shared}
    second = {key: config[key] for key in _POINTWISE_KEYS if key in config}
    second |= {f"kernel_{kind}": config[f"pointwise_{kind}"] for kind in ("initializer", "regularizer", "constraint")}
    second |= {"name": name, "kernel_size": 1, "activity_regularizer": config.get("activity_regularizer"), **shared}
    depthwise: dict = {
        "module": "keras.layers",
        "class_name": f"DepthwiseConv{rank}",
        "config": first,
        "registered_name": None,
    }
    pointwise: dict = {"module": "keras.layers", "class_name": f"Conv{rank}", "config": second, "registered_name": None}
    if "inbound_nodes" in entry:
        calls = _calls(entry)
        depthwise |= {"name": first["name"], "inbound_nodes": entry["inbound_nodes"]}
        pointwise |= {"name": name, "inbound_nodes": [[[first["name"], call, 0, {}]] for call in calls]}
    return [depthwise, pointwise]
