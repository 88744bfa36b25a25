"""Writing a compressed model to several files, one format after another, each audited."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from keras_compress import ExportReport, export_model
from keras_compress._keras import keras
from keras_compress.errors import ExportError, close_matches
from keras_compress.export import format_of, format_options
from keras_compress.files import replacing
from keras_compress_cli.arguments import require_new
from keras_compress_cli.command import UsageError

__all__ = ["exported", "require_formats", "save_compressed"]


def require_formats(arguments: argparse.Namespace) -> None:
    """Refuse endings of no known format, options that none of the formats has, and files beside the outputs that exist.

    Raises:
        UsageError: there is such an ending, option or file.
    """
    try:
        targets = [target for path in arguments.outputs for target in format_of(path).targets(path)]
        allowed = {name for path in arguments.outputs for name in format_options(path)}
    except ExportError as error:
        raise UsageError(str(error)) from None
    require_new([path for path in targets if path not in arguments.outputs], overwrite=arguments.overwrite)
    for name, _ in arguments.options:
        if name not in allowed:
            close = "".join(f" Did you mean '{other}'?" for other in close_matches(name, allowed, 1))
            raise UsageError(
                f"--option {name}: no format of {[str(path) for path in arguments.outputs]} has it.{close}"
            )


def exported(model: keras.Model, arguments: argparse.Namespace, data: Any = None) -> list[ExportReport]:
    """Write a compressed model to all outputs of a command.

    Args:
        model: the compressed model.
        arguments: with ``outputs``, ``options`` and ``strict``, see
            :func:`~keras_compress_cli.arguments.add_exports`.
        data: samples for ranges that a format needs, and to compare outputs on. Default: what the model was calibrated on,
            else numbers drawn to fit its inputs.
    """
    reports = []
    for path in tqdm(arguments.outputs, desc="export", unit="file", leave=False, disable=None):
        allowed = format_options(path)
        options = {name: value for name, value in arguments.options if name in allowed}
        if "calibration_data" in allowed:
            options["calibration_data"] = data
        if "overwrite" in allowed:
            options["overwrite"] = arguments.overwrite
        reports.append(export_model(model, path, strict=arguments.strict, data=data, **options))
    return reports


def save_compressed(model: keras.Model, path: Path) -> None:
    """Save the compressed model itself, its quantizers included, as a whole or not at all."""
    with replacing(path) as staged:
        model.save(staged)
