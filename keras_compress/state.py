"""The state of a compression in a checkpoint: decisions and position as JSON; the numbers are variables of the model.

``TFCompressionState`` writes it into a ``tf.train.Checkpoint``; ``TFCompressionStateLoader`` reads it before the model
is rebuilt.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, field
from typing import Any, Protocol

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress._keras_training import load_random_states, random_states
from keras_compress.algorithms import SkippedWeight
from keras_compress.arguments import wrong
from keras_compress.distribution import number_of_workers
from keras_compress.errors import CompressionError, StateError, short_repr
from keras_compress.fit_position import FitPosition
from keras_compress.graph import Edit, ModelGraph, edit_from_dict, edit_to_dict
from keras_compress.graph.snapshot import ModelSnapshot
from keras_compress.state_validation import (
    check_digest,
    check_edit,
    check_edits_fit,
    checked_configuration,
    checked_position,
    digest,
)

__all__ = [
    "CompressionState",
    "TFCompressionState",
    "TFCompressionStateLoader",
    "put_back_random_numbers",
    "random_numbers",
]

VERSION = 1


@dataclass(frozen=True)
class CompressionState:
    """Everything needed to rebuild a compressed model but its numbers.

    Attributes:
        config: the configuration, as ``CompressionConfig.to_dict``.
        edits: the edits of each algorithm, in the order of the configuration.
        skipped: weights left alone, with the reason.
        scheduler: the position, as ``CompressionScheduler.get_state``.
        fit: the place in the running ``fit``; None outside of any, and in states of early versions.
        random: the states of layers that draw random numbers.
        callbacks: what callbacks remember, by their keys.
        by_hand: whether a level was set by hand.
        saved_digest: hash of the decisions that was saved with them.
        with_digest: whether a hash is written; states of earlier versions have none.
    """

    config: dict
    edits: Sequence[Sequence[Edit]]
    skipped: Sequence[SkippedWeight] = ()
    scheduler: dict[str, int] = field(default_factory=dict)
    fit: FitPosition | None = None
    random: Sequence[Any] = ()
    callbacks: dict[str, dict] = field(default_factory=dict)
    by_hand: bool = False
    saved_digest: str | None = None
    with_digest: bool = True

    def to_dict(self) -> dict:
        """Return the state as JSON-able values."""
        values = {
            "version": VERSION,
            "config": self.config,
            "edits": [[edit_to_dict(edit) for edit in part] for part in self.edits],
            "skipped": [asdict(weight) for weight in self.skipped],
            "scheduler": self.scheduler,
        }
        optional = {
            "fit": None if self.fit is None else self.fit.to_dict(),
            "random": self.random,
            "callbacks": self.callbacks,
            "by_hand": self.by_hand,
        }
        values.update({name: value for name, value in optional.items() if value})
        plain = json.loads(json.dumps(values))
        return {**plain, "digest": digest(plain)} if self.with_digest else plain

    @classmethod
    def from_dict(cls, values: Any) -> CompressionState:
        """Read what :meth:`to_dict` wrote.

        Raises:
            StateError: this is not a compression state, or one of another version.
        """
        version = values.get("version") if isinstance(values, dict) else None
        if type(version) is not int or version != VERSION:
            raise StateError(
                f"This is not a compression state of version {VERSION}. Expected: what controller.get_compression_state() "
                f"or TFCompressionStateLoader().state gives. Received: version={short_repr(version)}."
            )
        try:
            state = cls(
                checked_configuration(values["config"]),
                [[edit_from_dict(edit) for edit in part] for part in values["edits"]],
                [SkippedWeight(**weight) for weight in values["skipped"]],
                checked_position(values["scheduler"]),
                saved_digest=values.get("digest"),
                with_digest="digest" in values,
                **_optional(values),
            )
            for part in state.edits:
                for edit in part:
                    check_edit(edit)
            for weight in state.skipped:
                if not all(isinstance(part, str) for part in astuple(weight)):
                    raise StateError(f"it leaves out what is no weight: {short_repr(weight)}")
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, CompressionError) as error:
            reason = str(error) if isinstance(error, CompressionError) else short_repr(error)
            raise StateError(
                f"The compression state is damaged: {reason.rstrip('.')}. Use another checkpoint."
            ) from None
        return state

    def check_model(self, snapshot: ModelSnapshot) -> None:
        """Raise a StateError that names the first decision of the state that has no place in the model."""
        check_edits_fit(self.edits, ModelGraph(snapshot))

    def check_unchanged(self) -> None:
        """Raise a StateError if the decisions are not those that the state was saved with."""
        if self.with_digest:
            check_digest(self.to_dict(), self.saved_digest)

    def check_config(self, config: dict) -> None:
        """Raise a StateError that names the first key in which ``config`` differs from that of the state."""
        mine = {key: value for key, value in self.config.items() if key != "log_dir"}
        other = {key: value for key, value in json.loads(json.dumps(config)).items() if key != "log_dir"}
        difference = _first_difference(mine, other, "")
        if difference or len(self.edits) != len(mine.get("compression", [])):
            raise StateError(
                f"The compression state belongs to another configuration{difference}. Its decisions cannot be changed. Use "
                "the configuration of the checkpoint, or leave the state out to compress from the start."
            )

    def check_edits(self, edits: Sequence[Sequence[Edit]]) -> None:
        """Raise a StateError that names the first decision that differs from ``edits``."""
        mine = [edit_to_dict(edit) for part in self.edits for edit in part]
        others = json.loads(json.dumps([edit_to_dict(edit) for part in edits for edit in part]))
        for index, (loaded, present) in enumerate(zip(json.loads(json.dumps(mine)), others, strict=False)):
            if loaded != present:
                raise StateError(
                    f"The state has another decision number {index}. Expected: {short_repr(present)}. Received: {short_repr(loaded)}."
                )
        if len(mine) != len(others):
            raise StateError(f"The state has {len(mine)} decisions. Expected: {len(others)}.")


def random_numbers(model: keras.Model) -> Sequence[Any]:
    """Return where the layers of a model stand that draw random numbers; nothing where several workers train."""
    return random_states(model) if number_of_workers(model.distribute_strategy) == 1 else ()


def put_back_random_numbers(model: keras.Model, states: Sequence[Any]) -> None:
    """Let the layers of a model go on drawing where others stopped; warn if they cannot."""
    if states and not load_random_states(model, states):
        warnings.warn(
            "The random numbers of layers as dropout do not go on where they stopped: the checkpoint holds those of "
            "another number of devices. Train on as many devices as before where that matters.",
            stacklevel=3,
        )


def _first_difference(mine: Any, other: Any, path: str) -> str:
    """Return where two JSON values differ first, as words, or nothing."""
    if isinstance(mine, dict) and isinstance(other, dict):
        for key in sorted({*mine, *other}):
            found = _first_difference(mine.get(key), other.get(key), f"{path}.{key}" if path else key)
            if found:
                return found
        return ""
    if isinstance(mine, list) and isinstance(other, list) and len(mine) == len(other):
        pairs = enumerate(zip(mine, other, strict=True))
        return next(filter(None, (_first_difference(a, b, f"{path}[{i}]") for i, (a, b) in pairs)), "")
    return "" if mine == other else f" at '{path}'. Expected: {short_repr(mine)}. Received: {short_repr(other)}"


def _optional(values: dict) -> dict[str, Any]:
    """Return what not every state holds; raise an error unless it is of its kind."""
    kinds = {"random": list, "callbacks": dict, "by_hand": bool}
    found = {name: values[name] for name in kinds if name in values}
    for name, value in found.items():
        if not isinstance(value, kinds[name]):
            raise TypeError(f"{name} is {short_repr(value)}, not a {kinds[name].__name__}")
    if not all(isinstance(memory, dict) for memory in found.get("callbacks", {}).values()):
        raise TypeError("a callback's memory is not a dict")
    return {**found, "fit": FitPosition.from_dict(values["fit"]) if "fit" in values else None}


class _HasState(Protocol):
    def get_compression_state(self) -> dict: ...

    def load_state(self, state: dict) -> None: ...


class TFCompressionState(tf.train.experimental.PythonState):
    """Puts the state of a controller into a ``tf.train.Checkpoint``, and takes the position back out on restore.

    Example::

        checkpoint = tf.train.Checkpoint(model=model, compression_state=TFCompressionState(controller))
    """

    def __init__(self, controller: _HasState):
        if not hasattr(controller, "get_compression_state"):
            raise wrong(
                "controller", "the controller from kc.create_compressed_model", controller, "Pass its first result."
            )
        self._controller = controller

    @property
    def controller(self) -> _HasState:
        """The controller whose state this is."""
        return self._controller

    def serialize(self) -> str:
        return json.dumps(self._controller.get_compression_state())

    def deserialize(self, string_value: str) -> None:
        self._controller.load_state(_parsed(string_value))

    def _copy_trackable_to_cpu(self, object_map) -> None:
        """Freeze the state together with the numbers that an asynchronous save copies.

        TensorFlow calls it when the first one begins, and traces it for those that follow; another thread writes the copy.
        """
        copy = object_map.setdefault(self, _FrozenState())
        if tf.executing_eagerly():
            copy.text = self.serialize()
        else:
            tf.numpy_function(self._freeze_into(copy), [], [], stateful=True)

    def _freeze_into(self, copy: _FrozenState):
        def freeze():
            copy.text = self.serialize()

        return freeze


class _FrozenState(tf.train.experimental.PythonState):
    """The state as it was when a save began."""

    def __init__(self) -> None:
        self.text = ""

    def serialize(self) -> str:
        return self.text

    def deserialize(self, string_value: str) -> None:
        raise NotImplementedError("A frozen state is written, and never read.")


class TFCompressionStateLoader(tf.train.experimental.PythonState):
    """Reads the state out of a checkpoint before there is a controller.

    Attributes:
        state: the state to pass to ``create_compressed_model``; a StateError until a checkpoint was restored.
    """

    def __init__(self) -> None:
        self._state: dict | None = None

    @property
    def state(self) -> dict:
        if self._state is None:
            raise StateError(
                "No checkpoint with a compression state was restored. Expected: "
                "tf.train.Checkpoint(compression_state=loader).restore(path).expect_partial() before this. Check that path "
                "is a checkpoint: tf.train.latest_checkpoint gives None for a folder without one."
            )
        return self._state

    def serialize(self) -> str:
        return json.dumps(self._state)

    def deserialize(self, string_value: str) -> None:
        self._state = _parsed(string_value)


def _parsed(text: str | bytes) -> dict:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StateError(
            f"The compression state in the checkpoint is damaged: {error}. Use another checkpoint."
        ) from None
    if not isinstance(values, dict):
        raise StateError(
            f"The compression state in the checkpoint is damaged. Expected: a dict. Received: {short_repr(values)}. Use another checkpoint."
        )
    return values
