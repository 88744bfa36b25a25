"""UserParameters: the base of what a user hands to ``quantize``: wrong keys are our errors, and NNCF's objects are taken too."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from pydantic import model_validator

from keras_compress.settings import Settings

__all__ = ["UserParameters", "plain_values"]


class UserParameters(Settings):
    """Settings that a user makes in Python, or has made for NNCF. Wrong arguments raise a ConfigError that names them.

    Example:
        >>> class Width(UserParameters):
        ...     width: int = 1
        >>> Width(width=None)
        Traceback (most recent call last):
        keras_compress.errors.ConfigError: Wrong value at 'Width.width'. Expected: a valid integer. Received: None.
    """

    @model_validator(mode="before")
    @classmethod
    def _of_others(cls, values: Any) -> Any:
        return plain_values(values)


def plain_values(values: Any) -> Any:
    """Return an object of another package, or a mapping, as a dict of plain values; everything else as it is.

    Of a dataclass only those attributes are taken that differ from their defaults, so that what is left alone is left
    to us. Members of enums are replaced by their values.
    """
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        given = {field.name: getattr(values, field.name) for field in dataclasses.fields(values)}
        values = {key: value for key, value in given.items() if value != _default(type(values), key)}
    if isinstance(values, Mapping):
        return {key: _plain(value) for key, value in values.items()}
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    return plain_values(value) if dataclasses.is_dataclass(value) else value


def _default(kind: type, name: str) -> Any:
    """Return the default of a field of a dataclass, a new object where there is none."""
    [field] = [field for field in dataclasses.fields(kind) if field.name == name]
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return object() if field.default is dataclasses.MISSING else field.default
