"""``diagnose``: which layers quantization hurts, why, and the change of the configuration that mends it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from keras_compress_cli.arguments import (
    add_data,
    add_model,
    add_overwrite,
    count,
    require_data,
    require_file,
    require_new,
)
from keras_compress_cli.command import Command, Output
from keras_compress_cli.terminal import note, quiet_import

__all__ = ["COMMAND"]

DESCRIPTION = """\
Quantizes a model and finds the quantizers that take its outputs away from those in floating point. For each it says why,
and which change of the configuration mends it, measured again.

  keras-compress diagnose model.keras --data samples.npy
  keras-compress diagnose model.keras --data images/ --config int8.json --save-config mended.json

The mended configuration is one for keras-compress compress.
"""
#: Samples that ranges are measured on, of those that are read.
CALIBRATION = 300


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--config", metavar="FILE", type=Path, help="a JSON configuration. Default: INT8 quantization")
    parser.add_argument(
        "--samples", metavar="N", type=count, default=64, help="samples errors are measured on. Default: 64"
    )
    parser.add_argument("--most", metavar="N", type=count, default=5, help="findings at most. Default: 5")
    parser.add_argument("--quick", action="store_true", help="no change is tried: about as long as a calibration takes")
    parser.add_argument("--save", metavar="FILE", type=Path, help="write the findings, as .json")
    parser.add_argument("--save-config", metavar="FILE", type=Path, help="write the mended configuration, as .json")
    add_overwrite(parser)
    add_data(parser)


def _run(arguments: argparse.Namespace) -> Output:
    require_data(arguments, "model", "data")
    require_file(arguments.config, "file")
    require_new([arguments.save, arguments.save_config], overwrite=arguments.overwrite)
    with quiet_import():
        import keras_compress as kc
        from keras_compress.files import write_file
        from keras_compress_cli.data_source import read_data
        from keras_compress_cli.model_file import inputs_of, read_model
    config = None if arguments.config is None else kc.CompressionConfig.from_json(arguments.config)
    model = read_model(arguments.model, arguments)
    data = read_data(arguments.data, inputs_of(model), arguments, samples=CALIBRATION + arguments.samples)
    options = {"samples": arguments.samples, "most": arguments.most, "measure": not arguments.quick}
    found = kc.diagnose(model, data, config=config, **options)
    if arguments.save is not None:
        note(f"saved '{found.save(arguments.save)}'")
    if arguments.save_config is not None:
        note(f"saved '{write_file(arguments.save_config, json.dumps(found.config.to_dict(), indent=2))}'")
    return Output(str(found), found.to_dict())


COMMAND = Command(("diagnose",), "show what quantization hurts, and what mends it", DESCRIPTION, _add_arguments, _run)
