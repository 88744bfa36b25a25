"""patched: a configuration with a change, which leaves all other keys as they are."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from keras_compress.config import CompressionConfig

__all__ = ["patched"]


def patched(config: CompressionConfig, algorithm: str, patch: Mapping[str, Any]) -> CompressionConfig:
    """Return a configuration in which an algorithm has other settings.

    Args:
        config: the configuration; it is not changed.
        algorithm: name of the algorithm.
        patch: nested dicts. A dict goes into the one that is there, a list of scopes is added to it, None takes a key away,
            and anything else takes the place of what is there.

    Example:
        >>> config = CompressionConfig.from_dict({"compression": {"algorithm": "quantization", "ignored_scopes": ["first"]}})
        >>> changed = patched(config, "quantization", {"ignored_scopes": ["last"], "weights": {"bits": 4}})
        >>> changed.compression[0].ignored_scopes, changed.compression[0].weights.bits
        (('first', 'last'), 4)
    """
    values = copy.deepcopy(config.to_dict())
    for settings in values["compression"]:
        if settings["algorithm"] == algorithm:
            _patch(settings, patch)
    return CompressionConfig.from_dict(values).with_init_data(config.init_data)


def _patch(values: dict[str, Any], patch: Mapping[str, Any]) -> None:
    for key, change in patch.items():
        if change is None:
            values.pop(key, None)
        elif isinstance(change, Mapping):
            inner = values.get(key)
            values[key] = inner if isinstance(inner, dict) else {}
            _patch(values[key], change)
        elif key.endswith("_scopes"):
            before = values.get(key) or []
            before = [before] if isinstance(before, str) else list(before)
            values[key] = [*before, *(scope for scope in change if scope not in before)]
        else:
            values[key] = change
