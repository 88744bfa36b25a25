"""main: finds the subcommand, runs it, prints what it found, and turns errors into a message and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from keras_compress_cli.command import Command, Output, UsageError, commands
from keras_compress_cli.terminal import messages_on_stderr, printable_streams

__all__ = ["FAILED", "INTERRUPTED", "SUCCEEDED", "WRONG_USAGE", "main"]

SUCCEEDED, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

DESCRIPTION = "Makes Keras models small and fast: quantization, sparsity and binarization, exported to audited files."
EPILOG = """\
start here:
  keras-compress quantize model.keras model.xml --data images/
  keras-compress COMMAND --help

Results go to standard output, messages and progress to standard error.
exit codes: 0 done; 1 the work failed, or the target was not met; 2 wrong usage; 130 interrupted
"""
#: What the words say that have commands below them.
GROUPS = {"config": "check, explain and migrate configurations"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: by default those of the process.
    """
    with printable_streams():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    try:
        parsed = _parser().parse_args(arguments)
    except SystemExit as done:  # argparse has said what there is to say
        return int(done.code or 0)
    command: Command = parsed.command
    try:
        with messages_on_stderr():
            output = command.run(parsed)
        print(_shown(output, as_json=getattr(parsed, "json", False)), flush=True)
        return SUCCEEDED if output.succeeded else FAILED
    except BrokenPipeError:  # the reader, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        _complain("interrupted", parsed.traceback)
        return INTERRUPTED
    except UsageError as error:
        name = " ".join(command.words)
        _complain(f"{error}\n'keras-compress {name} --help' explains the arguments.", parsed.traceback)
        return WRONG_USAGE
    except Exception as error:
        _complain(_explained(error), parsed.traceback)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keras-compress",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version())
    below: dict[tuple[str, ...], Any] = {(): _subcommands(parser)}
    for command in commands():
        group = command.words[:-1]
        if group not in below:
            summary = GROUPS[group[0]]
            words = below[()].add_parser(group[0], help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
            below[group] = _subcommands(words)
        _add(below[group], command)
    return parser


def _subcommands(parser: argparse.ArgumentParser) -> Any:
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _add(subcommands: Any, command: Command) -> None:
    parser = subcommands.add_parser(
        command.words[-1],
        help=command.summary,
        description=command.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    if command.json:
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error comes from")
    parser.set_defaults(command=command)


def _version() -> str:
    with contextlib.suppress(PackageNotFoundError):
        return version("keras_compress")
    return "not installed"


def _shown(output: Output, *, as_json: bool) -> str:
    return json.dumps(_finite(output.values), indent=2, default=str) if as_json else output.text


def _finite(value: Any) -> Any:
    """Return JSON-able values with None for the numbers that JSON does not have."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _explained(error: Exception) -> str:
    """Return an error as a message: as it is if it was raised on purpose, else with its type."""
    text = str(error).strip()
    if any(kind.__module__.startswith("keras_compress") for kind in type(error).__mro__):
        return text
    name = type(error).__name__
    return f"{name}: {text}\n--traceback shows where it comes from." if text else f"{name}. --traceback shows where."


def _complain(message: str, with_traceback: bool) -> None:
    if with_traceback:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr, flush=True)
