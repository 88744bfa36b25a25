"""Take every compression operation out of a model and leave its effect in the weights."""

from __future__ import annotations

from keras_compress.graph.compressed_entry import CompressedEntry
from keras_compress.graph.identity import is_operation
from keras_compress.graph.snapshot import ModelSnapshot, entries, is_model_entry
from keras_compress.graph.view import replace_tensors

__all__ = ["strip"]


def strip(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Return a plain model: the layers it was made from, weights as the operations made them, no activation quantizers."""
    edited = snapshot.edited()
    weights = dict(edited.weights)
    for path, entry in list(entries(edited.config)):
        wrapped = CompressedEntry.of(entry, weights.get(path, {}))
        if wrapped is not None:
            weights[path] = wrapped.carried_out().write_to(entry)
    _remove_operations(edited.config["config"], "", weights)
    return edited.with_weights(weights)


def _remove_operations(config: dict, prefix: str, weights: dict) -> None:
    """Take layers that are operations on activations out of a model; who reads them reads their source."""
    removed = {}
    for entry in config["layers"]:
        name = entry["config"]["name"]
        if is_operation(entry):
            removed[name] = [call[0][:3] for call in entry.get("inbound_nodes", [])]
            weights.pop(prefix + name, None)
        elif is_model_entry(entry):
            _remove_operations(entry["config"], prefix + name + "/", weights)
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
