"""Arguments that several commands take, and what can be said about them before TensorFlow is imported."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from keras_compress_cli.command import UsageError
from keras_compress_cli.entry_point import is_entry_point
from keras_compress_cli.terminal import note

__all__ = [
    "add_data",
    "add_exports",
    "add_model",
    "add_overwrite",
    "add_quantization",
    "add_saved",
    "count",
    "number",
    "require_data",
    "require_file",
    "require_new",
]

DATA_HELP = """\
samples: a .npy file; a .npz file with one array, or with one per input by name, and labels as 'y'; a folder of images,
flat or with a folder per class; or module:function, which returns what kc.Dataset takes"""


def number(text: str) -> float:
    """Return a number written as ``0.5`` or ``1/255``.

    Example:
        >>> number("1/4")
        0.25
    """
    try:
        value = float(Fraction(text)) if "/" in text else float(text)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"'{text}' is no number. Expected: as 0.5 or 1/255.")
    return value


def count(text: str) -> int:
    """Return a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number above 0.")
    return int(text)


def add_model(parser: argparse.ArgumentParser, name: str = "model", **options: Any) -> None:
    """Add the argument for a Keras model and what reading it may need."""
    text = "a .keras or .h5 file, a SavedModel folder of tf-keras, or module:function, which returns a model"
    parser.add_argument(name, **{"metavar": "MODEL", "help": text, **options})
    parser.add_argument(
        "--import",
        dest="modules",
        metavar="MODULE",
        action="append",
        default=[],
        help="import a Python module first, which registers layers of your own; may be repeated",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="let files do more than hold a model: run Python code of Lambda layers, and operations of TensorFlow with side effects",
    )


def add_data(parser: argparse.ArgumentParser, *, required: bool = True, use: str = "") -> None:
    """Add the arguments for samples."""
    group = parser.add_argument_group("data")
    group.add_argument("--data", metavar="DATA", required=required, help=(f"{use}; " if use else "") + DATA_HELP)
    group.add_argument(
        "--scale", metavar="NUMBER", type=number, help="multiply the inputs of files, as 1/255. Default: as they are"
    )
    group.add_argument(
        "--preprocess",
        metavar="MODULE:FUNCTION",
        help="apply a function to batches of inputs of files, as tf_keras.applications.mobilenet_v2:preprocess_input",
    )
    group.add_argument(
        "--image-size",
        metavar=("HEIGHT", "WIDTH"),
        nargs=2,
        type=count,
        help="size that images are brought to. Default: that of the model's input",
    )


def add_quantization(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of quantization after training."""
    group = parser.add_argument_group("quantization")
    group.add_argument(
        "--preset",
        choices=["performance", "mixed", "auto"],
        help="activations: symmetric, asymmetric, or what fits their data. Default: performance",
    )
    group.add_argument(
        "--target-device",
        choices=["ANY", "CPU", "GPU", "NPU", "CPU_SPR"],
        help="what the model will run on. Default: ANY",
    )
    group.add_argument("--model-type", choices=["transformer"], help="kinds treated in a way of their own")
    group.add_argument("--subset-size", metavar="N", type=count, help="samples used for calibration. Default: 300")
    group.add_argument(
        "--ignore",
        metavar="NAME",
        action="append",
        default=[],
        help="a layer that stays in floating point, or '{re}' and a pattern; may be repeated",
    )
    group.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="JSON with any arguments of kc.quantize, as advanced_parameters; the options above come first",
    )


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add the switch that lets files be replaced."""
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist. Default: refuse to")


def add_exports(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for files to export to."""
    parser.add_argument(
        "outputs",
        metavar="OUT",
        nargs="+",
        type=Path,
        help="file to write, by its ending: .xml OpenVINO, .onnx ONNX, .tflite TensorFlow Lite, .pb frozen graph, .keras "
        "or .h5 Keras, none: a SavedModel folder",
    )
    group = parser.add_argument_group("export")
    add_overwrite(group)  # type: ignore[arg-type]
    group.add_argument(
        "--compare",
        action="store_true",
        help="insist on samples for the comparison with Keras, which is made in any case: on the data, if there are any",
    )
    group.add_argument(
        "--option",
        dest="options",
        metavar="NAME=VALUE",
        type=_option,
        action="append",
        default=[],
        help="an option of the format, as opset=21 or io_type=int8; may be repeated",
    )
    group.add_argument(
        "--no-strict",
        dest="strict",
        action="store_false",
        help="only report a weight that is not stored as it should be, or results that depart from Keras'. Default: fail",
    )


def add_saved(parser: argparse.ArgumentParser) -> None:
    """Add the argument for the compressed model itself."""
    parser.add_argument(
        "--save-compressed",
        metavar="FILE.keras",
        type=_keras_file,
        help="also save the compressed Keras model itself, for fine-tuning, 'inspect' and further exports",
    )


def _keras_file(text: str) -> Path:
    if not text.endswith(".keras"):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no name for a compressed model. Expected: one that ends in .keras."
        )
    return Path(text)


def _option(text: str) -> tuple[str, Any]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise argparse.ArgumentTypeError(f"'{text}' is no option of a format. Expected: NAME=VALUE.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def require_new(paths: Sequence[Path | None], *, overwrite: bool) -> None:
    """Refuse to write what exists already, unless asked to.

    Raises:
        UsageError: a path exists, or stands twice.
    """
    given = [path for path in paths if path is not None]
    for path in given:
        if given.count(path) > 1:
            raise UsageError(f"'{path}' is to be written twice. Expected: different files.")
        if path.exists():
            if not overwrite:
                raise UsageError(f"'{path}' exists. Choose another name, or pass --overwrite.")
            note(f"'{path}' exists and will be replaced")


def require_file(path: str | Path | None, what: str) -> None:
    """Refuse a path at which there is nothing.

    Raises:
        UsageError: there is no such file, or one that could be read forever.
    """
    if path is None:
        return
    if not Path(path).exists():
        raise UsageError(f"There is no {what} '{path}'. Expected: the path of a file or folder. Check the path.")
    if not (Path(path).is_file() or Path(path).is_dir()):
        raise UsageError(
            f"The {what} '{path}' is a pipe or a device. Expected: the path of a file or folder. Write what it gives into a file first."
        )


def require_data(arguments: argparse.Namespace, *names: str) -> None:
    """Refuse data and models that are neither files nor functions.

    Args:
        arguments: of the command.
        names: of the arguments to look at.

    Raises:
        UsageError: there is no such file.
    """
    for name in names:
        given = getattr(arguments, name)
        if given is not None and not is_entry_point(given):
            require_file(given, name.replace("_", " "))
