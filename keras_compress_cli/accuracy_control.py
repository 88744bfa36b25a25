"""quantize_with_control: the arguments of control of accuracy, from the command line to the package."""

from __future__ import annotations

import argparse
from typing import Any

from keras_compress import Dataset, quantize_with_accuracy_control
from keras_compress._keras import keras
from keras_compress_cli.accuracy import top1
from keras_compress_cli.data_source import read_data
from keras_compress_cli.entry_point import import_function
from keras_compress_cli.model_file import inputs_of

__all__ = ["quantize_with_control"]

#: Arguments that are passed on as they are, if they are given.
PASSED_ON = ("max_drop", "drop_type", "validate_with", "max_evaluations", "max_seconds", "record")


def quantize_with_control(
    model: keras.Model, data: Dataset, arguments: argparse.Namespace, options: dict[str, Any]
) -> keras.Model:
    """Return the best quantized model; its ``accuracy_report`` says whether the target is met.

    Args:
        model: the trained model.
        data: to calibrate on.
        arguments: of ``keras-compress quantize``.
        options: of ``kc.quantize``.
    """
    ready_made = arguments.validate == "accuracy"
    validate = top1 if ready_made else import_function(arguments.validate)
    source = arguments.validation_data or arguments.data
    validation = read_data(source, inputs_of(model), arguments, labelled=ready_made)
    given = {name: value for name in PASSED_ON if (value := getattr(arguments, name)) is not None}
    renamed = {"advanced_parameters": "advanced_quantization_parameters"}
    return quantize_with_accuracy_control(
        model,
        data,
        validation,
        validate,
        higher_is_better=not arguments.lower_is_better,
        on_failure="return_best",
        **given,
        **{renamed.get(name, name): value for name, value in options.items()},
    )
