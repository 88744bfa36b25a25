"""Command: what a subcommand has to say about itself, and what it gives back.

A file of ``commands/`` with a ``COMMAND`` is a subcommand. It imports keras_compress only when it runs.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Command", "Output", "UsageError", "commands"]


class UsageError(Exception):
    """The command was called wrongly; the message says how to call it. Exit code 2."""


@dataclass(frozen=True)
class Output:
    """What a command found.

    Attributes:
        text: for people.
        values: the same as JSON-able values, for ``--json``.
        succeeded: False if the work was done and its result is not what was asked for. Exit code 1.
    """

    text: str
    values: Any = None
    succeeded: bool = True


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        words: its name, as ``("config", "check")``.
        summary: what it does, in a line.
        description: what it does, with an example, as its ``--help`` shows it.
        add_arguments: adds its arguments to a parser.
        run: does the work.
        json: whether it takes ``--json``. Default True.
    """

    words: tuple[str, ...]
    summary: str
    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Output]
    json: bool = True


def commands() -> list[Command]:
    """Return every subcommand, in the order of the files."""
    folder = importlib.import_module("keras_compress_cli.commands")
    modules = sorted(module.name for module in pkgutil.iter_modules(folder.__path__))
    return [importlib.import_module(f"{folder.__name__}.{name}").COMMAND for name in modules]
