"""``benchmark``: how long exported files take in their runtimes, side by side."""

from __future__ import annotations

import argparse
from typing import Any

from keras_compress_cli.arguments import add_data, add_model, count, require_data, require_file
from keras_compress_cli.command import Command, Output, UsageError
from keras_compress_cli.terminal import quiet_import

__all__ = ["COMMAND"]

DESCRIPTION = """\
Runs files of any export format in their runtimes, in turn, and prints medians, spreads and bytes. With --float-model the
float model is exported to each of the formats and runs beside them.

  keras-compress benchmark model.xml model.onnx model.tflite --float-model model.keras
  keras-compress benchmark model.onnx --shape 1,224,224,3 --rounds 200 --threads 1

Inputs are random numbers, or the first samples of --data.
"""

#: Start of the random numbers.
SEED = 0


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="an exported file or SavedModel folder")
    add_model(parser, "--float-model", help="the model before compression: a file, a folder, or module:function")
    parser.add_argument(
        "--shape",
        metavar="N,N,…",
        dest="shapes",
        type=_shape,
        action="append",
        default=[],
        help="shape of an input, samples first, in the place of --float-model; once per input",
    )
    parser.add_argument("--batch-size", metavar="N", type=count, default=1, help="samples per run. Default: 1")
    parser.add_argument("--rounds", metavar="N", type=count, default=50, help="how often each file runs. Default: 50")
    parser.add_argument(
        "--threads", metavar="N", type=int, default=0, help="for each runtime. Default: as many as it likes"
    )
    add_data(parser, required=False, use="what to run on, with --float-model")


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.split(",")
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(f"'{text}' is no shape. Expected: whole numbers above 0, as 1,224,224,3.")
    return tuple(int(size) for size in sizes)


def _run(arguments: argparse.Namespace) -> Output:
    for file in arguments.files:
        require_file(file, "file")
    require_data(arguments, "float_model", "data")
    if arguments.float_model is None and not arguments.shapes:
        raise UsageError("The shape of the inputs is not known. Pass --float-model MODEL or --shape N,N,…")
    if arguments.data is not None and arguments.float_model is None:
        raise UsageError("--data needs --float-model MODEL, which says what the inputs are. Or pass --shape alone.")
    with quiet_import():
        from keras_compress import benchmark
        from keras_compress_cli.model_file import read_model
    model = None if arguments.float_model is None else read_model(arguments.float_model, arguments)
    report = benchmark(
        arguments.files,
        _inputs(model, arguments),
        float_model=model,
        rounds=arguments.rounds,
        threads=arguments.threads,
        trust=arguments.trust,
    )
    return Output(str(report), report.to_dict())


def _inputs(model: Any, arguments: argparse.Namespace) -> list[Any]:
    """Return one array per input with the samples of one run."""
    import numpy as np

    from keras_compress.data import Dataset
    from keras_compress_cli.data_source import read_data
    from keras_compress_cli.model_file import inputs_of

    generator = np.random.default_rng(SEED)
    if model is None:
        return [generator.random(shape, np.float32) for shape in arguments.shapes]
    specs = inputs_of(model)
    if arguments.data is not None:
        data = Dataset.of(read_data(arguments.data, specs, arguments, samples=arguments.batch_size))
        batch = next(data.batches(specs, arguments.batch_size, arguments.batch_size))
        return [np.asarray(array, spec.dtype) for array, spec in zip(batch.inputs, specs, strict=True)]
    if arguments.shapes and len(arguments.shapes) != len(specs):
        raise UsageError(
            f"The model has {len(specs)} inputs. Expected: --shape for each. Received: {len(arguments.shapes)}."
        )
    shapes = arguments.shapes or [(arguments.batch_size, *spec.shape) for spec in specs]
    for spec, shape in zip(specs, shapes, strict=True):
        if None in shape:
            raise UsageError(
                f"The input '{spec.name}' has an open size: {spec.shape}. Pass --shape N,N,… for every input."
            )
    return [generator.random(shape, np.float32).astype(spec.dtype) for spec, shape in zip(specs, shapes, strict=True)]


COMMAND = Command(("benchmark",), "measure how long exported files take", DESCRIPTION, _add_arguments, _run)
