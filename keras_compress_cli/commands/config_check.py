"""``config check``: whether a configuration is right, and what it would do to a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_compress_cli.arguments import add_model, require_data, require_file
from keras_compress_cli.command import Command, Output
from keras_compress_cli.terminal import quiet_import

__all__ = ["COMMAND"]

DESCRIPTION = """\
Reads a configuration and names every wrong key, type and value with the path to it; exit code 1 if there are any. With a
model, also its scopes are checked, and every weight is listed with what would compress it, or why nothing would.

  keras-compress config check int8.json
  keras-compress config check int8.json model.keras
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="the configuration")
    add_model(parser, nargs="?")


def _run(arguments: argparse.Namespace) -> Output:
    require_file(arguments.file, "file")
    require_data(arguments, "model")
    with quiet_import():
        from keras_compress import CompressionConfig, coverage
        from keras_compress_cli.model_file import read_model
    config = CompressionConfig.from_json(arguments.file)
    config.warn_about_foreign_keys()
    names = ", ".join(algorithm.name for algorithm in config.compression)
    text = f"'{arguments.file}' is a valid configuration of {names}"
    if arguments.model is None:
        return Output(text, {"config": config.to_dict()})
    found = coverage(read_model(arguments.model, arguments), config)
    return Output(f"{text}\n\n{found}", {"config": config.to_dict(), **found.to_dict()})


COMMAND = Command(("config", "check"), "check a configuration, alone or on a model", DESCRIPTION, _add_arguments, _run)
