"""The keys of a configuration as data: where each leads in the JSON Schema, and which are accepted without effect.

A key is known by its pattern: its path without list indices, with ``*`` for the name of a scope.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keras_compress.algorithms import registered_algorithms
from keras_compress.config.compression_config import CompressionConfig

__all__ = ["alternatives", "object_in", "reason_ignored"]


def reason_ignored(algorithm: str, pattern: str) -> str | None:
    """Return why a key does nothing, None if it does something or is unknown.

    Args:
        algorithm: name of the algorithm, empty for the root of the configuration.
        pattern: path of the key in there, with ``*`` for the name of a scope.

    Example:
        >>> reason_ignored("quantization", "weights.logarithm_scale")
        'the scale itself is trained'
    """
    section = registered_algorithms()[algorithm] if algorithm else CompressionConfig
    return section.ignored_keys.get(pattern)


def alternatives(schema: dict, root: dict) -> Iterator[dict]:
    """Yield the schemas that a value may follow, references and choices resolved.

    Args:
        schema: a part of a JSON Schema.
        root: the whole, with the definitions.
    """
    if "$ref" in schema:
        yield from alternatives(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    elif "anyOf" in schema:
        for choice in schema["anyOf"]:
            yield from alternatives(choice, root)
    else:
        yield schema


def object_in(schema: dict, root: dict) -> dict[str, Any] | None:
    """Return the schema of the object that a value may be or hold a list of, None if it is neither."""
    for choice in alternatives(schema, root):
        if choice.get("type") == "object":
            return choice
        if choice.get("type") == "array" and (found := object_in(choice.get("items") or {}, root)) is not None:
            return found
    return None
