"""Take the compression operations out of a model and leave their effect in the weights."""

from __future__ import annotations

from keras_compress.graph.compressed_entry import CompressedEntry
from keras_compress.graph.identity import is_operation
from keras_compress.graph.passes.fix_quantizers import fix_activation
from keras_compress.graph.snapshot import ModelSnapshot, entries, is_model_entry
from keras_compress.graph.view import replace_tensors

__all__ = ["strip"]


def strip(snapshot: ModelSnapshot, *, keep_activations: bool = False) -> ModelSnapshot:
    """Return a plain model: the layers it was made from, and weights as the operations made them.

    Args:
        snapshot: of a compressed model.
        keep_activations: leave operations on activations in the model, as they are in files. Default False: none is left.
    """
    edited = snapshot.edited()
    weights = dict(edited.weights)
    for path, entry in list(entries(edited.config)):
        wrapped = CompressedEntry.of(entry, weights.get(path, {}))
        if wrapped is not None:
            weights[path] = wrapped.carried_out().write_to(entry)
        elif keep_activations and is_operation(entry):
            weights[path] = fix_activation(entry, weights.get(path, {}))
    if not keep_activations:
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
