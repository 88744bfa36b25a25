"""What a saved compression state may hold, checked whole before anything is built of it.

A state is read from a checkpoint, and may have been cut, changed by hand, or made for another model.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from keras_compress.errors import StateError, short_repr
from keras_compress.graph import Edit, InsertLayer, ModelGraph, NodeRef, WrapWeight
from keras_compress.graph.identity import operation_class
from keras_compress.graph.view import OUTPUT

__all__ = ["check_digest", "check_edit", "check_edits_fit", "checked_configuration", "checked_position", "digest"]

#: No training takes more epochs or steps.
_MOST = {"current_epoch": 2**31 - 1, "current_step": 2**63 - 1, "first_step": 2**63 - 1, "steps_per_epoch": 2**63 - 1}
_LEAST = {"current_epoch": -1, "current_step": -1, "first_step": 0, "steps_per_epoch": 1}


def digest(values: Mapping[str, Any]) -> str:
    """Return what tells the decisions of a state from all others: a hash of its configuration and its edits."""
    config = {key: value for key, value in values["config"].items() if key != "log_dir"}
    decisions = {"config": config, "edits": values["edits"], "skipped": values["skipped"]}
    return hashlib.sha256(json.dumps(decisions, sort_keys=True).encode()).hexdigest()[:16]


def check_digest(values: Mapping[str, Any], saved: Any) -> None:
    """Refuse a state whose decisions were changed since it was written.

    Args:
        values: the state.
        saved: the digest that was saved with it.

    Raises:
        StateError: it is that of other decisions.
    """
    if saved != digest(values):
        raise StateError(
            "The decisions in the compression state were changed since it was saved. Expected: the configuration and the edits that "
            f"digest={short_repr(saved)} was made of. Use the checkpoint as it was written, or compress from the start."
        )


def checked_configuration(values: Any) -> dict[str, Any]:
    """Return the configuration in a state.

    Raises:
        StateError: it is no dict with an entry for compression.
    """
    if not isinstance(values, dict) or "compression" not in values:
        raise StateError(
            f"it has no configuration. Expected: a dict with 'compression'. Received: {short_repr(values)}"
        )
    return dict(values)


def checked_position(values: Any) -> dict[str, Any]:
    """Return the position of the scheduler.

    Raises:
        StateError: it does not consist of whole numbers that a training can reach.
    """
    if not isinstance(values, dict):
        raise StateError(f"it has no position. Expected: a dict as 'scheduler'. Received: {short_repr(values)}")
    for key, most in _MOST.items():
        value = values.get(key)
        if value is None and key in ("first_step", "steps_per_epoch"):
            continue
        if type(value) is not int or not _LEAST[key] <= value <= most:
            raise StateError(
                f"its position cannot be that of a training. Expected: a whole number from {_LEAST[key]} on as '{key}'. Received: "
                f"{short_repr(value)}"
            )
    return dict(values)


def check_edit(edit: Edit) -> None:
    """Refuse an edit whose parts are not of their types, or whose operation is not registered or has settings it does not take.

    Classes are looked up among those already registered with Keras; nothing is imported because a state says so.

    Raises:
        StateError: the edit is none that was saved.
    """
    if isinstance(edit, WrapWeight):
        sound = isinstance(edit.layer, str) and isinstance(edit.weight, str)
        description: Any = edit.op
    else:
        places = [*edit.sources, *edit.consumers]
        sound = isinstance(edit.prefix, str) and bool(edit.sources) and bool(edit.consumers)
        sound = sound and all(
            isinstance(place[0], str) and all(type(part) is int for part in place[1:]) for place in places
        )
        description = edit.layer
    if not sound:
        raise StateError(f"a decision in it names no place in a model: {short_repr(edit)}")
    found = operation_class(description) if isinstance(description, dict) else None
    if found is None:
        name = description.get("registered_name") if isinstance(description, dict) else description
        raise StateError(f"{short_repr(name)} is no registered operation")
    config = description.get("config")
    if description.get("class_name") != found.__name__ or not isinstance(config, dict):
        raise StateError(
            f"an operation in it is described wrongly. Expected: class_name='{found.__name__}' and a dict as 'config'. Received: "
            f"{short_repr(description)}"
        )
    name = config.get("name")
    if not isinstance(name, str) or not name:
        raise StateError(f"an operation in it has no name: {short_repr(config)}")
    try:
        found.from_config(dict(config))
    except Exception as error:  # Keras and the class may raise anything
        raise StateError(f"the settings of '{name}' are not those of {found.__name__}: {_reason(error)}") from None


def check_edits_fit(edits: Sequence[Sequence[Edit]], graph: ModelGraph) -> None:
    """Refuse edits whose places are not in a model, or that do not fit there.

    Args:
        edits: those of each algorithm, each checked by :func:`check_edit`.
        graph: the model before compression, as it was prepared.

    Raises:
        StateError: the state belongs to another model, or is damaged.
    """
    every = [edit for part in edits for edit in part]
    layers = {path for path, _ in graph.layers()}
    for edit in every:
        if isinstance(edit, WrapWeight):
            _check_weight(edit, graph, layers)
        else:
            _check_insertion(edit, graph, layers)
    taken = Counter(_identity(edit) for edit in every)
    twice = [identity for identity, count in taken.items() if count > 1]
    if twice:
        raise StateError(
            f"The compression state is damaged: it has the decision {short_repr(twice[0])} twice. Use another checkpoint."
        )


def _identity(edit: Edit) -> tuple[str, ...]:
    if isinstance(edit, WrapWeight):
        return (edit.layer, edit.weight, edit.op["config"]["name"])
    return (edit.path,)


def _require_layers(paths: Sequence[str], layers: set[str]) -> None:
    for path in paths:
        if path not in layers:
            raise StateError(
                f"The compression state belongs to another model: it has a layer '{path}'. Received: a model "
                f"with the layers {sorted(layers)[:8]}…. Build the model that was compressed; where Keras numbers the names, "
                "give the layers names of their own, or call keras.backend.clear_session() before building."
            )


def _check_weight(edit: WrapWeight, graph: ModelGraph, layers: set[str]) -> None:
    _require_layers([edit.layer], layers)
    shape = graph.weight_shape(edit.layer, edit.weight)
    if shape is None:
        raise StateError(
            f"The compression state belongs to another model: no weight '{edit.weight}' in '{edit.layer}'."
        )
    try:
        with tf.Graph().as_default():  # where variables have shapes and take no memory
            operation = operation_class(edit.op)
            operation.from_config(dict(edit.op["config"])).build(shape)  # type: ignore[union-attr]
    except Exception as error:  # Keras and the class may raise anything
        raise StateError(
            f"The compression state is damaged: '{edit.op['config']['name']}' does not fit the weight '{edit.weight}' of "
            f"'{edit.layer}' with shape {shape}: {_reason(error)} Use another checkpoint."
        ) from None


def _check_insertion(edit: InsertLayer, graph: ModelGraph, layers: set[str]) -> None:
    _require_layers([source.layer for source in edit.sources], layers)
    readers = {consumer for source in edit.sources for consumer in graph.consumers(source)}
    unknown = [consumer for consumer in edit.consumers if consumer not in readers]
    idle = [source for source in edit.sources if not set(graph.consumers(source)) & set(edit.consumers)]
    places: list[Any] = [*edit.sources, *edit.consumers]
    outside = [place for place in places if not _stands_in(place.layer, edit.prefix, graph)]
    if unknown or idle or outside:
        raise StateError(
            f"The compression state belongs to another model: '{edit.path}' stands where nothing is read. Expected: sources that "
            f"the consumers read. Received: {short_repr(tuple([*unknown, *idle, *outside][0]))}. Build the model that was compressed."
        )
    if edit.path in layers:
        raise StateError(
            f"The compression state is damaged: '{edit.path}' is no new name of a layer. Use another checkpoint."
        )


def _stands_in(layer: str, prefix: str, graph: ModelGraph) -> bool:
    """Return whether a layer, or the outputs, belong to the model with a path prefix."""
    if layer == prefix + OUTPUT:
        return True
    node = graph.nodes.get(NodeRef(layer, 0)) or next(
        (node for ref, node in graph.nodes.items() if ref.layer == layer), None
    )
    return node is not None and node.prefix == prefix


def _reason(error: Exception) -> str:
    text = " ".join(str(error).rpartition("Exception encountered: ")[2].split()) or type(error).__name__
    return text if text.endswith(".") else f"{text}."
