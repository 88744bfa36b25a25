"""Let recurrent layers begin every run without memory, for files that keep nothing from one run to the next."""

from __future__ import annotations

from typing import Any

from keras_compress.graph.identity import is_builtin
from keras_compress.graph.snapshot import ModelSnapshot, entries

__all__ = ["forget_states"]


def forget_states(snapshot: ModelSnapshot) -> tuple[ModelSnapshot, list[str]]:
    """Return the model with ``stateful=False`` in all of Keras' own layers, and the paths of the layers that had a memory.

    Each run of the new model computes what the first run after ``reset_states()`` does.
    """
    edited = snapshot.edited()
    stateful = []
    for path, entry in entries(edited.config):
        if "layers" not in entry["config"] and _forget(entry):
            stateful.append(path)
    return edited, stateful


def _forget(structure: Any) -> bool:
    """Clear, in place, the flag in an entry and in all entries inside it; return whether it was set anywhere."""
    if isinstance(structure, (list, tuple)):
        return bool(sum(_forget(item) for item in structure))  # every one, not only the first
    if not isinstance(structure, dict):
        return False
    found = bool(sum(_forget(value) for value in structure.values()))
    config = structure.get("config")
    if (
        "class_name" in structure
        and isinstance(config, dict)
        and config.get("stateful") is True
        and is_builtin(structure)
    ):
        config["stateful"] = False
        return True
    return found
