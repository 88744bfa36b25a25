"""``export``: a compressed Keras model becomes files for runtimes."""

from __future__ import annotations

import argparse

from keras_compress_cli.arguments import add_data, add_exports, add_model, require_data, require_new
from keras_compress_cli.command import Command, Output, UsageError
from keras_compress_cli.terminal import note, quiet_import

__all__ = ["COMMAND"]

DESCRIPTION = """\
Writes a compressed Keras model, as model.save, 'quantize --save-compressed' and 'compress --save-compressed' leave it,
to files for runtimes. Every file is read back and audited.

  keras-compress export compressed.keras model.xml model.onnx --data samples.npy
  keras-compress export compressed.keras model.tflite --data samples.npy --option io_type=int8

ONNX Runtime and TensorFlow Lite need ranges that training does not: they are measured on --data. The outputs of every file
are compared with Keras on --data too; without it on numbers that are drawn to fit the inputs, which shows gross errors only.
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add_exports(parser)
    add_data(parser, required=False, use="for ranges that a format needs, and to compare outputs on")


def _run(arguments: argparse.Namespace) -> Output:
    require_data(arguments, "model", "data")
    require_new(arguments.outputs, overwrite=arguments.overwrite)
    if arguments.compare and arguments.data is None:
        raise UsageError("--compare needs samples. Pass --data.")
    with quiet_import():
        from keras_compress.data import Dataset
        from keras_compress.graph.model_check import first_compressed_layer
        from keras_compress_cli.data_source import read_data
        from keras_compress_cli.exports import exported, require_formats
        from keras_compress_cli.model_file import inputs_of, read_model
    require_formats(arguments)
    model = read_model(arguments.model, arguments)
    if first_compressed_layer(model) is None:
        note(f"warning: '{arguments.model}' holds no compressed layer, so the files are those of a float model")
    data = None
    if arguments.data is not None:
        data = Dataset.of(read_data(arguments.data, inputs_of(model), arguments))
    reports = exported(model, arguments, data)
    return Output("\n\n".join(map(str, reports)), {"exports": [report.to_dict() for report in reports]})


COMMAND = Command(("export",), "write a compressed model to files for runtimes", DESCRIPTION, _add_arguments, _run)
