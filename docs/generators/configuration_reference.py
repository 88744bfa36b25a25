"""Writes docs/configuration_reference.md from the JSON Schema of the configuration, which is made from the pydantic models.

    python docs/generators/configuration_reference.py

Every key stands under the section that takes it. What keys mean together is in docs/configuration.md, written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras_compress as kc
from keras_compress.algorithms import registered_algorithms

PAGE = Path(__file__).resolve().parents[1] / "configuration_reference.md"

HEAD = """\
<!-- Written by docs/generators/configuration_reference.py from the pydantic models. Do not edit; run `make docs-pages`. -->
# Configuration reference

All keys of a configuration, with types, defaults and ranges, as `kc.json_schema()` has them. [Configuration](configuration.md)
explains them in their context. A *section* is an object with keys of its own, and may be left out. *One or more* stands for a value
or a list of them.
"""
REFERENCE = "#/$defs/"


def page() -> str:
    """Return the text of the page."""
    schema = kc.json_schema()
    sections = schema["$defs"]
    algorithms = sorted(registered_algorithms())
    parts = [HEAD, "## Root\n", _table(schema, sections)]
    for name in algorithms:
        parts += [f"## {name}\n", sections[name]["description"] + "\n", _table(sections[name], sections)]
    parts.append("## Sections\n")
    users = _users({"": schema, **sections}, algorithms)
    for name in sorted(users):
        used = ", ".join(f"`{user}`" for user in users[name])
        parts += [f"### {name}\n", f"{sections[name]['description']} Used by {used}.\n"]
        parts.append(_table(sections[name], sections))
    return "\n".join(parts)


def _table(section: dict, sections: dict) -> str:
    required = set(section.get("required", []))
    lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for key, value in sorted(section["properties"].items(), key=lambda item: item[0] != "algorithm"):
        cells = [f"`{key}`", _type(value), "required" if key in required else _default(value), value["description"]]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _type(value: dict) -> str:
    """Return in words what a key takes."""
    if "$ref" in value:
        name = value["$ref"].removeprefix(REFERENCE)
        return f"section [{name}](#{name.lower()})"
    if "anyOf" in value:
        choices = [choice for choice in value["anyOf"] if choice != {"type": "null"}]
        if len(choices) > 1 and choices[-1].get("type") == "array":  # one, or a list of the same
            return "one or more: " + " or ".join(_type(choice) for choice in choices[:-1])
        return " or ".join(_type(choice) for choice in choices)
    if "enum" in value:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in value["enum"])
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    kind = value.get("type", "any")
    if kind == "array":
        return _array(value)
    if kind == "object":
        inner = value.get("additionalProperties")
        return f"object of scope: {_type(inner)}" if isinstance(inner, dict) else "object"
    return f"{kind}{_limits(value)}"


def _array(value: dict) -> str:
    if "prefixItems" in value:
        return "pair of " + " and ".join(_type(item) for item in value["prefixItems"])
    return f"list of {_type(value['items'])}"


def _limits(value: dict) -> str:
    """Return the range of a number or the pattern of a string."""
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    limits = [f"{word} {value[key]:g}" for key, word in words.items() if key in value]
    if "pattern" in value:
        limits.append(f"matching `{value['pattern']}`")
    return f", {', '.join(limits)}" if limits else ""


def _default(value: dict) -> str:
    text = json.dumps(value.get("default"))
    shown = text not in ("null", "[]") and "{" not in text  # a section has defaults of its own
    return f"`{text}`" if shown else ""


def _users(sections: dict, algorithms: list[str]) -> dict[str, list[str]]:
    """Return for each section but the algorithms the keys that take it."""
    users: dict[str, list[str]] = {}
    for owner, section in sections.items():
        for key, value in section["properties"].items():
            for name in set(_references(value)) - set(algorithms):
                users.setdefault(name, []).append(f"{owner}.{key}".removeprefix("."))
    return users


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].removeprefix(REFERENCE)
            return
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _references(item)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
