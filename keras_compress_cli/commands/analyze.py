"""``analyze``: which layers suffer from quantization."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_compress_cli.arguments import (
    add_data,
    add_model,
    add_overwrite,
    add_quantization,
    count,
    require_data,
    require_file,
    require_new,
)
from keras_compress_cli.command import Command, Output
from keras_compress_cli.terminal import note, quiet_import

__all__ = ["COMMAND"]

DESCRIPTION = """\
Tells for each layer what its quantization costs: the signal over the error in dB, low is bad, at its own output, at the
outputs of the model when nothing else is quantized, and when everything else is. A plain model is quantized first.

  keras-compress analyze model.keras --data samples.npy
  keras-compress analyze compressed.keras --data images/ --save layers.csv --plot layers.png

The worst layers are the ones to keep in floating point: keras-compress quantize … --ignore NAME.
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--samples", metavar="N", type=count, default=64, help="samples errors are measured on. Default: 64"
    )
    parser.add_argument(
        "--quick", action="store_true", help="only the errors at each layer's own output: two runs in all"
    )
    parser.add_argument("--save", metavar="FILE", type=Path, help="write the table, as .csv or .json")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the table, as .png or .svg; needs matplotlib")
    add_overwrite(parser)
    add_data(parser)
    add_quantization(parser)


def _run(arguments: argparse.Namespace) -> Output:
    require_data(arguments, "model", "data")
    require_file(arguments.config, "file")
    require_new([arguments.save, arguments.plot], overwrite=arguments.overwrite)
    with quiet_import():
        import keras_compress as kc
        from keras_compress_cli.data_source import read_data
        from keras_compress_cli.model_file import inputs_of, read_model
        from keras_compress_cli.quantization_arguments import calibration_samples, quantization_arguments
    options = quantization_arguments(arguments)
    model = read_model(arguments.model, arguments)
    wanted = max(arguments.samples, calibration_samples(options) or 0)
    data = read_data(arguments.data, inputs_of(model), arguments, samples=wanted)
    thorough = not arguments.quick
    report = kc.analyze(model, data, samples=arguments.samples, only_one=thorough, leave_one_out=thorough, **options)
    if arguments.save is not None:
        note(f"saved '{report.save(arguments.save)}'")
    if arguments.plot is not None:
        report.plot(arguments.plot)
        note(f"saved '{arguments.plot}'")
    return Output(str(report), report.to_dict())


COMMAND = Command(("analyze",), "show which layers suffer from quantization", DESCRIPTION, _add_arguments, _run)
