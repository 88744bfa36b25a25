"""``config example``: a valid configuration with every key of the algorithms asked for, explained in comments."""

from __future__ import annotations

import argparse

from keras_compress_cli.command import Command, Output
from keras_compress_cli.terminal import quiet_import

__all__ = ["COMMAND"]

DESCRIPTION = """\
Prints a valid configuration of one or more algorithms: every key with its default, and comments that say what it means.
Comments are allowed in configurations, so it can be used as it is; what is left alone may be deleted.

  keras-compress config example quantization > int8.json
  keras-compress config example magnitude_sparsity quantization > int8_sparse.json
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "algorithms",
        metavar="ALGORITHM",
        nargs="+",
        help="quantization, magnitude_sparsity, rb_sparsity, const_sparsity, binarization, or one of your own",
    )


def _run(arguments: argparse.Namespace) -> Output:
    with quiet_import():
        from keras_compress.config.example import config_example
    return Output(config_example(arguments.algorithms))


COMMAND = Command(
    ("config", "example"), "print an explained configuration", DESCRIPTION, _add_arguments, _run, json=False
)
