"""Settings: the base of every configuration section, and errors that name the key.

A section is a frozen pydantic model, so a configuration is a value. A wrong key, type or range becomes a
:class:`~keras_compress.errors.ConfigError` with the path to it, what was received, what is allowed and the nearest
name. The JSON Schema of a section describes its keys in the words of their docstrings.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import pydantic
from pydantic_core import core_schema

from keras_compress.errors import ConfigError, Mistake, close_matches, short_repr

__all__ = ["OneOrMore", "Settings", "reported_mistakes", "validated"]

SettingsType = TypeVar("SettingsType", bound="Settings")


class Settings(pydantic.BaseModel):
    """A frozen section of the configuration that refuses unknown keys. Wrong arguments raise a ConfigError that names them."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def __init__(self, **values: Any):
        with reported_mistakes(type(self), type(self).__name__):
            super().__init__(**values)

    #: Tells pydantic to validate dicts without this ``__init__``: only what a user calls reports mistakes.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    #: Why a key is accepted and does nothing here, by its pattern: its path, with ``*`` for the name of a scope.
    ignored_keys: ClassVar[Mapping[str, str]] = {}

    def used_ignored_keys(self) -> dict[str, str]:
        """Return the reason for every pattern of :attr:`ignored_keys` that a key was written down for."""
        values = self.to_dict()
        return {pattern: reason for pattern, reason in self.ignored_keys.items() if _holds(values, pattern)}

    def to_dict(self) -> dict:
        """Return the JSON-able form, without the keys that have their default value."""
        return self.model_dump(mode="json", exclude_defaults=True, by_alias=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: pydantic.GetJsonSchemaHandler) -> dict:
        described = handler.resolve_ref_schema(reference := handler(schema))
        described["description"] = _plain(_SECTION.split(inspect.cleandoc(cls.__doc__ or ""), maxsplit=1)[0])
        for key in described.get("properties", {}).values():
            if "description" in key:
                key["description"] = _plain(key["description"])
        return reference


#: Where the summary of a docstring ends.
_SECTION = re.compile(r"^(Example|Examples|Raises|Source):", re.MULTILINE)
_ROLE = re.compile(r":\w+:`~?([^`]*)`")


def _plain(text: str) -> str:
    """Return a piece of a docstring in one line, with code between single backticks."""
    text = _ROLE.sub(lambda role: f"`{role.group(1).rpartition('.')[2]}`", text)
    return " ".join(text.replace("``", "`").split())


def _holds(values: Any, pattern: str) -> bool:
    """Return whether a key of a pattern is among ``values``."""
    if not pattern:
        return True
    key, _, rest = pattern.partition(".")
    if not isinstance(values, dict):
        return False
    found = list(values.values()) if key == "*" else [values[key]] if key in values else []
    return any(_holds(value, rest) for value in found)


class OneOrMore:
    """Annotation that lets a key that takes a list take a single item too, in values and in the JSON Schema."""

    def __get_pydantic_core_schema__(self, source: Any, handler: pydantic.GetCoreSchemaHandler) -> Any:
        return core_schema.no_info_before_validator_function(_listed, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: pydantic.GetJsonSchemaHandler) -> dict:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


def _listed(value: Any) -> Any:
    return value if value is None or isinstance(value, (list, tuple)) else [value]


def validated(section: type[SettingsType], values: Any, path: str = "") -> SettingsType:
    """Return ``section`` made from ``values``, or raise a ConfigError that names each wrong key.

    Args:
        section: the class of the section.
        values: what the user wrote: a dict, or an object of the class.
        path: where the section stands in the whole configuration, as ``"compression[0]"``.
    """
    with reported_mistakes(section, path):
        return section.model_validate(values)


@contextmanager
def reported_mistakes(section: type[Settings], path: str) -> Iterator[None]:
    """Raise a ConfigError in place of pydantic's error about a section at ``path``."""
    try:
        yield
    except pydantic.ValidationError as error:
        mistakes = [_mistake(section, problem, path) for problem in error.errors()]
        raise ConfigError("\n".join(map(str, mistakes)), mistakes) from None


def _mistake(section: type[Settings], problem: Any, path: str) -> Mistake:
    location, received = problem["loc"], problem["input"]
    where = _join(path, location)
    if problem["type"] == "extra_forbidden":
        allowed = _keys_at(section, location[:-1])
        close = close_matches(str(location[-1]), allowed, 1)
        hint = f"Did you mean '{close[0]}'? " if close else ""
        details = f"{hint}Allowed: {', '.join(sorted(allowed))}. Received: {location[-1]}={short_repr(received)}."
        return Mistake(where, f"Unknown key '{where}'.", details)
    if problem["type"] == "missing":
        return Mistake(
            where, f"Missing key '{where}'.", f"Expected: a value for '{location[-1]}' in {short_repr(received)}."
        )
    if problem["type"] == "value_error":
        return Mistake(where, f"Wrong value at '{where}':", str(problem["ctx"]["error"]))
    expected = problem["msg"].removeprefix("Input should be ")
    return Mistake(where, f"Wrong value at '{where}'.", f"Expected: {expected}. Received: {short_repr(received)}.")


def _join(path: str, location: tuple) -> str:
    for part in location:
        path = f"{path}[{part}]" if isinstance(part, int) else f"{path}.{part}" if path else str(part)
    return path or "the configuration"


def _keys_at(section: Any, location: tuple) -> list[str]:
    """Return the keys that the section at ``location`` inside ``section`` takes."""
    for part in location:
        if isinstance(part, str) and part in getattr(section, "model_fields", {}):
            section = _section_in(section.model_fields[part].annotation)
    return [field.alias or name for name, field in getattr(section, "model_fields", {}).items()]


def _section_in(annotation: Any) -> Any:
    """Find the Settings class inside an annotation such as ``tuple[Section, ...] | None``."""
    if (
        isinstance(annotation, type)
        and not isinstance(annotation, types.GenericAlias)
        and issubclass(annotation, Settings)
    ):
        return annotation
    for inner in typing.get_args(annotation):
        found = _section_in(inner)
        if found is not None:
            return found
    return None
