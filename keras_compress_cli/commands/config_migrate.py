"""``config migrate``: what each key of an NNCF configuration does here, and the configuration without the others."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from keras_compress_cli.arguments import add_overwrite, require_file, require_new
from keras_compress_cli.command import Command, Output
from keras_compress_cli.terminal import note, quiet_import

__all__ = ["COMMAND"]

DESCRIPTION = """\
Reads a configuration of NNCF and says for every key what it does here: used, accepted without effect, not available, or
unknown, with the nearest key. Exit code 1 if anything is not available, unknown or wrong.

  keras-compress config migrate nncf.json
  keras-compress config migrate nncf.json --output int8.json

The file written holds the keys that have an effect here, and is valid.
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="the configuration of NNCF")
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="write the configuration with the keys that work here"
    )
    add_overwrite(parser)


def _run(arguments: argparse.Namespace) -> Output:
    require_file(arguments.file, "file")
    require_new([arguments.output], overwrite=arguments.overwrite)
    with quiet_import():
        from keras_compress.config.json_file import read_json
        from keras_compress.config.migration import migrate
        from keras_compress.files import write_file
    report = migrate(read_json(arguments.file))
    if arguments.output is not None:
        if report.config is None:
            note(f"'{arguments.output}' was not written: what is left of the configuration is not valid")
        else:
            write_file(arguments.output, json.dumps(report.config, indent=4) + "\n")
            note(f"saved '{arguments.output}'")
    return Output(str(report), report.to_dict(), succeeded=report.complete)


COMMAND = Command(
    ("config", "migrate"), "say what each key of an NNCF configuration does here", DESCRIPTION, _add_arguments, _run
)
