"""The formats that models can be exported to, by name and by suffix. A format registers itself when its module is imported."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from pathlib import Path

from keras_compress.arguments import wrong
from keras_compress.errors import ExportError
from keras_compress.export.format import Format

__all__ = ["format_of", "format_options", "register_format", "registered_formats"]

#: Keras' and NNCF's other names of formats.
ALIASES = {"tf": "saved_model"}

_FORMATS: dict[str, Format] = {}


def register_format(form: Format) -> Format:
    """Teach ``export_model``, ``audit`` and ``benchmark`` a file format.

    Args:
        form: what the format has to say; see :class:`~keras_compress.export.format.Format`.

    Returns:
        The same format.

    Raises:
        ExportError: another format has the name or the suffix.

    Example::

        register_format(Format("safetensors", ".safetensors", write, stored_weights, load, integers=False))
    """
    if not isinstance(form, Format):
        raise wrong(
            "form", "a keras_compress.export.format.Format", form, "Pass Format(name, suffix, write, …).", ExportError
        )
    for other in _FORMATS.values():
        if other != form and (other.name == form.name or other.suffix == form.suffix):
            raise ExportError(
                f"There is a format '{other.name}' with the suffix '{other.suffix}' already. Expected: a name and a suffix of "
                f"its own. Received: name={form.name!r}, suffix={form.suffix!r}."
            )
    _FORMATS[form.name] = form
    return form


def registered_formats() -> dict[str, Format]:
    """Return every format by its name."""
    _import_formats()
    return dict(_FORMATS)


@functools.cache
def _import_formats() -> None:
    """Import the modules of this folder, so that their formats are registered."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")


def format_of(path: Path, save_format: str | None = None) -> Format:
    """Return the format with a name, or that of the suffix of a path.

    Raises:
        ExportError: there is none.
    """
    if save_format is not None and not isinstance(save_format, str):
        raise wrong("save_format", "the name of a format", save_format, kind=ExportError)
    formats = registered_formats()
    by_suffix = {form.suffix: form.name for form in formats.values()}
    name = by_suffix.get(path.suffix.lower()) if save_format is None else ALIASES.get(save_format, save_format)
    if name not in formats:
        raise ExportError(
            f"Unknown export format. Expected: a path ending in one of {sorted(filter(None, by_suffix))}, a folder, or "
            f"save_format one of {sorted(formats)}. Received: '{path.name}', save_format={save_format!r}."
        )
    return formats[name]


def format_options(path: str | Path, save_format: str | None = None) -> list[str]:
    """Return the options of the format with a name, or that of the suffix of a path."""
    parameters = inspect.signature(format_of(Path(path), save_format).write).parameters
    return [key for key, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
