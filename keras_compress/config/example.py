"""config_example: a configuration with every key of some algorithms, explained in comments from the documentation."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence

from keras_compress.algorithms import algorithm_class
from keras_compress.config.compression_config import json_schema
from keras_compress.config.keys import object_in, reason_ignored

__all__ = ["config_example"]

WIDTH, INDENT = 110, 4


def config_example(algorithms: Sequence[str]) -> str:
    """Return a valid configuration of the given algorithms as JSON with comments; every key has its default.

    Args:
        algorithms: names, as ``["magnitude_sparsity", "quantization"]``.

    Raises:
        ConfigError: there is no such algorithm.

    Example:
        >>> "sparsity_target" in config_example(["magnitude_sparsity"])
        True
    """
    for name in algorithms:
        algorithm_class(name, "compression.algorithm")
    schema = json_schema()
    lines = [
        "{",
        *_comment(schema["properties"]["compression"].get("description", ""), INDENT),
        " " * INDENT + '"compression": [',
    ]
    for name in algorithms:
        definition = schema["$defs"][name]
        lines += _comment(definition.get("description", ""), 2 * INDENT)
        lines += [" " * 2 * INDENT + "{", f'{" " * 3 * INDENT}"algorithm": "{name}",']
        lines += _keys(definition, schema, name, "", 3 * INDENT)
        lines.append(" " * 2 * INDENT + "},")
    lines.append(" " * INDENT + "],")
    for key, part in schema["properties"].items():
        if key != "compression" and reason_ignored("", key) is None:
            lines += _key(key, part, schema, "", key, INDENT)
    return "\n".join([*lines, "}"])


def _keys(definition: dict, schema: dict, algorithm: str, prefix: str, indent: int) -> Iterator[str]:
    """Yield the lines of all keys of an object that have an effect."""
    for key, part in definition["properties"].items():
        pattern = prefix + key
        if key != "algorithm" and reason_ignored(algorithm, pattern) is None:
            yield from _key(key, part, schema, algorithm, pattern, indent)


def _key(key: str, part: dict, schema: dict, algorithm: str, pattern: str, indent: int) -> Iterator[str]:
    yield from _comment(part.get("description", ""), indent)
    inner = object_in(part, schema)
    if inner is not None and inner.get("properties") and part.get("default") not in (None, []):
        yield f'{" " * indent}"{key}": {{'
        yield from _keys(inner, schema, algorithm, f"{pattern}.", indent + INDENT)
        yield " " * indent + "},"
    else:
        yield f'{" " * indent}"{key}": {json.dumps(part.get("default", {}))},'


def _comment(text: str, indent: int) -> list[str]:
    lead = " " * indent + "// "
    return [lead + line for line in textwrap.wrap(text, WIDTH - indent, break_long_words=False)]
