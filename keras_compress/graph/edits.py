"""Edits: the decisions of an algorithm as values, and the pure function that applies them to a snapshot.

An edit is JSON-able: the edits of a compressed model are saved with it, so that resuming takes no decisions again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from keras_compress.errors import CompressionError
from keras_compress.graph.compressed_entry import CompressedEntry, Operation
from keras_compress.graph.snapshot import ModelSnapshot, is_model_entry
from keras_compress.graph.view import OUTPUT, NodeRef, TensorRef, first_call, replace_tensors

__all__ = [
    "Edit",
    "InsertLayer",
    "WrapWeight",
    "apply_edits",
    "edit_from_dict",
    "edit_to_dict",
    "reroute_edges",
]


@dataclass(frozen=True)
class WrapWeight:
    """Map the weight ``weight`` of the layer at path ``layer`` through ``op``, a serialized WeightOp."""

    layer: str
    weight: str
    op: dict


@dataclass(frozen=True)
class InsertLayer:
    """Put the serialized layer ``layer`` on the edges from any of ``sources`` to any of ``consumers``.

    All sources and consumers belong to one model. The layer is called once per source and so shares its variables
    between them. A consumer whose layer is ``OUTPUT`` means the outputs of the model. ``prefix`` is the path
    prefix of that model: empty for the outer one, or as ``"backbone/"``.
    """

    prefix: str
    layer: dict
    sources: tuple[TensorRef, ...]
    consumers: tuple[NodeRef, ...]

    @property
    def path(self) -> str:
        """Path of the inserted layer."""
        return self.prefix + self.layer["config"]["name"]


Edit = WrapWeight | InsertLayer


def edit_to_dict(edit: Edit) -> dict:
    """Return an edit as JSON-able values."""
    values = asdict(edit)
    if isinstance(edit, InsertLayer):
        values = {"scope": values.pop("prefix"), **values}
    return {"edit": type(edit).__name__, **values}


def edit_from_dict(values: dict) -> Edit:
    """Return the edit that :func:`edit_to_dict` wrote down."""
    values = dict(values)
    kind = values.pop("edit")
    if kind == "WrapWeight":
        return WrapWeight(**values)
    if kind == "InsertLayer":
        return InsertLayer(
            values["scope"],
            values["layer"],
            tuple(TensorRef(*source) for source in values["sources"]),
            tuple(NodeRef(*consumer) for consumer in values["consumers"]),
        )
    raise CompressionError(f"Unknown edit. Expected: WrapWeight or InsertLayer. Received: edit={kind!r}.")


def apply_edits(snapshot: ModelSnapshot, edits: Iterable[Edit]) -> ModelSnapshot:
    """Return the snapshot with all edits applied; ``snapshot`` itself is not changed."""
    wraps: dict[str, list[WrapWeight]] = defaultdict(list)
    inserts: dict[str, list[InsertLayer]] = defaultdict(list)
    for edit in edits:
        if isinstance(edit, WrapWeight):
            wraps[edit.layer].append(edit)
        else:
            inserts[edit.prefix].append(edit)
    edited = snapshot.edited()
    weights = dict(edited.weights)
    _edit_model(edited.config["config"], "", wraps, inserts, weights)
    return edited.with_weights(weights)


def _edit_model(config: dict, prefix: str, wraps: dict, inserts: dict, weights: dict) -> None:
    for entry in config["layers"]:
        path = prefix + entry["config"]["name"]
        if path in wraps:
            operations = [Operation(edit.weight, edit.op) for edit in wraps[path]]
            weights[path] = CompressedEntry.wrapping(entry, weights.get(path, {}), operations).write_to(entry)
        elif is_model_entry(entry):
            _edit_model(entry["config"], path + "/", wraps, inserts, weights)
    if inserts[prefix]:
        insert = _insert_functional if "input_layers" in config else _insert_sequential
        insert(config, prefix, inserts[prefix])


def _insert_functional(config: dict, prefix: str, edits: Sequence[InsertLayer]) -> None:
    rerouted: dict[tuple[NodeRef, TensorRef], TensorRef] = {}
    added: dict[str, list[dict]] = defaultdict(list)
    for edit in edits:
        name = edit.layer["config"]["name"]
        calls = [[[source.layer[len(prefix) :], source.node, source.output, {}]] for source in edit.sources]
        added[edit.sources[-1].layer[len(prefix) :]].append({**edit.layer, "name": name, "inbound_nodes": calls})
        for call, source in enumerate(edit.sources):
            rerouted.update({(consumer, source): TensorRef(edit.path, call, 0) for consumer in edit.consumers})
    reroute_edges(config, prefix, rerouted)
    config["layers"] = [item for entry in config["layers"] for item in (entry, *added[entry["name"]])]


def reroute_edges(config: dict, prefix: str, rerouted: Mapping[tuple[NodeRef, TensorRef], TensorRef]) -> None:
    """Let consumers in a functional model read other tensors, in place.

    Args:
        config: of the model that holds all of them.
        prefix: its path prefix.
        rerouted: by consumer and the tensor it reads, the tensor it shall read.
    """
    names = {entry["name"] for entry in config["layers"]}

    def reroute(structure: Any, consumer: NodeRef) -> Any:
        def replacement(layer: str, node: int, index: int) -> list:
            tensor = TensorRef(prefix + layer, node, index)
            found = rerouted.get((consumer, tensor), tensor)
            return [found.layer[len(prefix) :], found.node, found.output]

        return replace_tensors(structure, names, replacement)

    for entry in config["layers"]:
        path = prefix + entry["name"]
        entry["inbound_nodes"] = [
            reroute(call, NodeRef(path, number))
            for number, call in enumerate(entry["inbound_nodes"], first_call(entry))
        ]
    config["output_layers"] = reroute(config["output_layers"], NodeRef(prefix + OUTPUT, 0))


def _insert_sequential(config: dict, prefix: str, edits: Sequence[InsertLayer]) -> None:
    after = {edit.sources[0].layer[len(prefix) :]: edit.layer for edit in edits}
    layers = []
    for entry in config["layers"]:
        layers.append(entry)
        inserted = after.get(entry["config"]["name"])
        if inserted is not None:
            layers.append(dict(inserted))
    config["layers"] = layers
