"""``config schema``: the JSON Schema of configurations, for editors."""

from __future__ import annotations

import argparse
import json

from keras_compress_cli.command import Command, Output
from keras_compress_cli.terminal import quiet_import

__all__ = ["COMMAND"]

DESCRIPTION = """\
Prints the JSON Schema of configurations, with which editors check and complete them.

  keras-compress config schema > keras_compress.schema.json
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def _run(arguments: argparse.Namespace) -> Output:
    with quiet_import():
        from keras_compress import json_schema
    return Output(json.dumps(json_schema(), indent=2))


COMMAND = Command(("config", "schema"), "print the JSON Schema", DESCRIPTION, _add_arguments, _run, json=False)
