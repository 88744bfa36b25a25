"""``quantize``: a trained model and a few hundred samples become INT8 files, with control of the accuracy if wanted."""

from __future__ import annotations

import argparse

from keras_compress_cli.arguments import (
    add_data,
    add_exports,
    add_model,
    add_quantization,
    add_saved,
    count,
    number,
    require_data,
    require_file,
    require_new,
)
from keras_compress_cli.command import Command, Output, UsageError
from keras_compress_cli.terminal import note, quiet_import

__all__ = ["COMMAND"]

#: Arguments that mean something only with --validate.
CONTROL = (
    *("validation_data", "max_drop", "drop_type", "validate_with", "max_evaluations", "max_seconds", "record"),
    *("lower_is_better", "keep_best"),
)

DESCRIPTION = """\
Quantizes a trained model without training: ranges are measured on a few hundred samples like those the model will see,
biases are corrected, and every file is read back and audited.

  keras-compress quantize model.keras model.xml --data images/ --scale 1/255
  keras-compress quantize model.keras model.tflite model.onnx --data samples.npz --ignore head

With --validate, layers return to floating point, as few as possible, until the accuracy is met; if it cannot be met,
the exit code is 1.

  keras-compress quantize model.keras model.xml --data test.npz --validate accuracy --max-drop 0.005
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add_exports(parser)
    add_saved(parser)
    add_data(parser)
    add_quantization(parser)
    group = parser.add_argument_group("control of accuracy")
    group.add_argument(
        "--validate",
        metavar="METRIC",
        help="'accuracy' (top-1, on labelled data), or module:function, which takes a model and data and returns a number",
    )
    group.add_argument("--validation-data", metavar="DATA", help="what to validate on. Default: that of --data")
    group.add_argument("--max-drop", metavar="NUMBER", type=number, help="greatest drop of the metric. Default: 0.01")
    group.add_argument(
        "--drop-type", choices=["absolute", "relative"], help="whether the drop is relative to the original metric"
    )
    group.add_argument(
        "--validate-with",
        choices=["keras", "openvino", "onnxruntime", "tflite"],
        help="what validates; the function gets the opened file of that runtime. Default: keras",
    )
    group.add_argument("--lower-is-better", action="store_true", help="the metric is an error")
    group.add_argument("--max-evaluations", metavar="N", type=count, help="how often to validate at most")
    group.add_argument("--max-seconds", metavar="NUMBER", type=number, help="when to stop searching")
    group.add_argument(
        "--record", metavar="FILE", help="JSON file of evaluations, from which an interrupted search goes on"
    )
    group.add_argument(
        "--keep-best", action="store_true", help="write the best model even if the target was not met (exit code 1)"
    )


def _run(arguments: argparse.Namespace) -> Output:
    _check(arguments)
    with quiet_import():
        import keras_compress as kc
        from keras_compress_cli.accuracy_control import quantize_with_control
        from keras_compress_cli.data_source import read_data
        from keras_compress_cli.exports import exported, require_formats, save_compressed
        from keras_compress_cli.model_file import inputs_of, read_model
        from keras_compress_cli.quantization_arguments import calibration_samples, quantization_arguments
    require_formats(arguments)
    options = quantization_arguments(arguments)
    model = read_model(arguments.model, arguments)
    specs = inputs_of(model)
    data = kc.Dataset.of(read_data(arguments.data, specs, arguments, samples=calibration_samples(options)))
    if arguments.validate is None:
        quantized, control = kc.quantize(model, data, **options), None
    else:
        quantized = quantize_with_control(model, data, arguments, options)
        control = vars(quantized)["accuracy_report"]
    if control is not None and not control.met and not arguments.keep_best:
        note(
            "nothing was written, because the accuracy target was not met; --keep-best writes the best model all the same"
        )
        return Output(str(control), {"accuracy": control.to_dict(), "exports": []}, succeeded=False)
    if arguments.save_compressed is not None:
        save_compressed(quantized, arguments.save_compressed)
        note(f"saved '{arguments.save_compressed}'")
    reports = exported(quantized, arguments, data)
    return Output(
        "\n\n".join(map(str, [*([control] if control else []), *reports])),
        {"accuracy": control and control.to_dict(), "exports": [report.to_dict() for report in reports]},
        succeeded=control is None or control.met,
    )


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what can be seen to be wrong before anything is loaded."""
    require_data(arguments, "model", "data", "validation_data")
    require_file(arguments.config, "file")
    require_new([*arguments.outputs, arguments.save_compressed], overwrite=arguments.overwrite)
    if arguments.validate == "accuracy" and (arguments.validate_with or "keras") != "keras":
        raise UsageError(
            "'--validate accuracy' asks Keras. Expected: --validate module:function, whose function takes the object of the "
            f"runtime. Received: --validate-with {arguments.validate_with}."
        )
    alone = [name for name in CONTROL if getattr(arguments, name) is not None and getattr(arguments, name) is not False]
    if arguments.validate is None and alone:
        raise UsageError(f"--{alone[0].replace('_', '-')} needs --validate, which says what to measure.")


COMMAND = Command(("quantize",), "quantize a trained model without training", DESCRIPTION, _add_arguments, _run)
