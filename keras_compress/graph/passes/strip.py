"""Take every compression operation out of a model and leave its effect in the weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from keras_compress._keras import deserialize
from keras_compress.graph.snapshot import ModelSnapshot, entries, is_model_entry
from keras_compress.graph.variables import named_variables
from keras_compress.graph.view import replace_tensors
from keras_compress.layers import WeightOp
from keras_compress.layers.compressed_layer import REGISTERED_NAME

__all__ = ["compressed_arrays", "strip", "unwrap"]


def strip(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Return a plain model: the layers it was made from, weights as the operations made them, no activation quantizers."""
    edited = snapshot.edited()
    weights = dict(edited.weights)
    for path, entry in list(entries(edited.config)):
        if entry.get("registered_name") == REGISTERED_NAME:
            weights[path] = compressed_arrays(entry["config"], weights[path])
            unwrap(entry)
    _remove_quantizers(edited.config["config"], "", weights)
    return ModelSnapshot(edited.config, weights, edited.custom_objects)


def unwrap(entry: dict) -> None:
    """Turn an entry of CompressedLayer back into the entry of its layer, in place."""
    entry.update({key: value for key, value in entry["config"]["layer"].items() if key != "build_config"})


def compressed_arrays(config: dict, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of the inner layer of a CompressedLayer, with its operations applied.

    Args:
        config: the configuration of the CompressedLayer.
        arrays: its arrays, ``layer.…`` those of the inner layer, ``weight_ops.<i>.…`` those of its operations.
    """
    inner = {name.removeprefix("layer."): array for name, array in arrays.items() if name.startswith("layer.")}
    for index, (path, description) in enumerate(config["operations"]):
        op = load_op(description, inner[path].shape, arrays, f"weight_ops.{index}.")
        inner[path] = op(inner[path].astype(np.float32)).numpy().astype(inner[path].dtype)
    return inner


def load_op(description: dict, shape: tuple, arrays: Mapping[str, np.ndarray], prefix: str) -> WeightOp:
    """Make a living operation from its description and its arrays."""
    op = deserialize({key: value for key, value in description.items() if key != "build_config"})
    op.build(shape)
    for name, variable in named_variables(op).items():
        variable.assign(arrays[prefix + name])
    return op


def _remove_quantizers(config: dict, prefix: str, weights: dict) -> None:
    """Take layers that are operations on activations out of a model; who reads them reads their source."""
    removed = {}
    for entry in config["layers"]:
        name = entry["config"]["name"]
        if str(entry.get("registered_name")).startswith("keras_compress>"):
            removed[name] = [call[0][:3] for call in entry.get("inbound_nodes", [])]
            weights.pop(prefix + name, None)
        elif is_model_entry(entry):
            _remove_quantizers(entry["config"], prefix + name + "/", weights)
    if not removed:
        return
    config["layers"] = [entry for entry in config["layers"] if entry["config"]["name"] not in removed]
    if "input_layers" not in config:
        return

    def reroute(structure):
        return replace_tensors(structure, set(removed), lambda name, node, index: removed[name][node])

    for entry in config["layers"]:
        entry["inbound_nodes"] = reroute(entry["inbound_nodes"])
    config["output_layers"] = reroute(config["output_layers"])
