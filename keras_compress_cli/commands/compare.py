"""``compare``: a file and the model it was exported from, layer by layer."""

from __future__ import annotations

import argparse

from keras_compress_cli.arguments import add_data, add_model, require_data
from keras_compress_cli.command import Command, Output
from keras_compress_cli.terminal import quiet_import

__all__ = ["COMMAND"]

DESCRIPTION = """\
Runs a file for ONNX Runtime, OpenVINO or TensorFlow Lite and compares the output of every layer that is found in it with the
Keras model's. Names the first layer that departs; then the exit code is 1.

  keras-compress compare compressed.keras model.tflite --data samples.npy
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("path", metavar="FILE", help="the file that was exported from the model")
    parser.add_argument(
        "--min-sqnr", metavar="DB", type=float, default=20.0, help="below this a layer departs (default: 20)"
    )
    parser.add_argument(
        "--fed", action="store_true", help="also feed each layer what it reads in the model: its own error, in steps"
    )
    add_data(parser, required=False, use="for the comparison; default: registered samples, else drawn ones")


def _run(arguments: argparse.Namespace) -> Output:
    require_data(arguments, "model", "data")
    with quiet_import():
        from keras_compress import compare
        from keras_compress_cli.data_source import read_data
        from keras_compress_cli.model_file import inputs_of, read_model
    model = read_model(arguments.model, arguments)
    data = None if arguments.data is None else read_data(arguments.data, inputs_of(model), arguments)
    found = compare(model, arguments.path, data, min_sqnr=arguments.min_sqnr, fed=arguments.fed, trust=arguments.trust)
    return Output(str(found), found.to_dict(), succeeded=found.first is None)


COMMAND = Command(("compare",), "compare a file with its model, layer by layer", DESCRIPTION, _add_arguments, _run)
