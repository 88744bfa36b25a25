"""quantize_with_accuracy_control: a quantized model whose accuracy drops by no more than was asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from keras_compress._keras import keras
from keras_compress.arguments import checked_path, choice, flag, number, whole_number, wrong
from keras_compress.data import Dataset
from keras_compress.errors import AccuracyTargetNotMet, ConfigError, short_repr
from keras_compress.post_training.accuracy_search import AccuracySearch, Budget, DropType, Target
from keras_compress.post_training.evaluation_record import EvaluationRecord
from keras_compress.post_training.ignored_scope import IgnoredScope
from keras_compress.post_training.openvino_models import is_openvino_model, quantize_openvino_model
from keras_compress.post_training.parameters import (
    AdvancedQuantizationParameters,
    ModelType,
    QuantizationPreset,
    TargetDevice,
)
from keras_compress.post_training.quantize import QuantizeOptions, calibrated_by_options
from keras_compress.post_training.user_parameters import plain_values
from keras_compress.post_training.validation import Validator

__all__ = ["quantize_with_accuracy_control"]


#: Where accuracy is measured in these runtimes, the model is quantized for them.
_GRIDS = ("onnxruntime", "tflite")


def quantize_with_accuracy_control(
    model: keras.Model,
    calibration_dataset: Any,
    validation_dataset: Any,
    validation_fn: Callable[[Any, Any], Any],
    *,
    max_drop: float = 0.01,
    drop_type: DropType | str = DropType.ABSOLUTE,
    preset: QuantizationPreset | str | None = None,
    target_device: TargetDevice | str = TargetDevice.ANY,
    subset_size: int = 300,
    fast_bias_correction: bool = True,
    model_type: ModelType | str | None = None,
    ignored_scope: IgnoredScope | list[str] | None = None,
    advanced_quantization_parameters: AdvancedQuantizationParameters | dict | None = None,
    advanced_accuracy_restorer_parameters: Any = None,
    validate_with: str = "keras",
    higher_is_better: bool = True,
    max_evaluations: int | None = None,
    max_seconds: float | None = None,
    on_failure: Literal["raise", "return_best"] = "raise",
    record: str | Path | None = None,
) -> keras.Model:
    """Return a quantized copy of a trained model whose accuracy drops by no more than ``max_drop``.

    The layers that suffer most from quantization return to floating point, as few as possible. What happened is the
    attribute ``accuracy_report`` of the model, an :class:`~keras_compress.post_training.AccuracyReport`.

    Args:
        model, calibration_dataset, preset, target_device, subset_size, fast_bias_correction, model_type, ignored_scope:
            as for :func:`quantize`.
        validation_dataset: handed to ``validation_fn``; a ``kc.Dataset`` as its elements before ``transform_func``.
        validation_fn: ``validation_fn(model, data)`` returns the metric, or a tuple of it and values per sample.
        max_drop: the greatest drop of the metric. Default 0.01.
        drop_type: ``"absolute"`` (default) in units of the metric, or ``"relative"`` to the metric of the original
            model.
        advanced_quantization_parameters: as ``advanced_parameters`` of :func:`quantize`.
        advanced_accuracy_restorer_parameters: of NNCF; of these ``max_num_iterations`` is taken as ``max_evaluations``,
            the others are refused for a Keras model.
        validate_with: ``"keras"`` (default), or ``"openvino"``, ``"onnxruntime"``, ``"tflite"``: every candidate is
            exported and opened there, and ``validation_fn`` gets an ``openvino.CompiledModel``, an
            ``onnxruntime.InferenceSession`` or an interpreter.
        higher_is_better: False for metrics such as an error. Default True.
        max_evaluations: how often ``validation_fn`` may be called. Default: as often as needed, which is about twice
            the binary logarithm of the number of layers, and once or twice more for each layer that returns.
        max_seconds: after which no further evaluation begins. Default: none.
        on_failure: ``"raise"`` (default) or ``"return_best"``, what happens if the target is not met.
        record: JSON file in which evaluations are written down; an interrupted run with the same arguments goes on from
            it. It cannot know whether the validation data have changed. Default: none.

    Raises:
        AccuracyTargetNotMet: the target was not met; the error carries the best model and the report.
        CompressionError: as :func:`quantize`.

    Example::

        def validate(model, data):
            images, labels = data
            return np.mean(model.predict(images).argmax(-1) == labels)

        test = (test_images, test_labels)
        quantized = kc.quantize_with_accuracy_control(model, images, test, validate, max_drop=0.005)
        print(quantized.accuracy_report)
    """
    options = QuantizeOptions(
        preset=preset,
        target_device=target_device,
        subset_size=subset_size,
        fast_bias_correction=fast_bias_correction,
        model_type=model_type,
        ignored_scope=ignored_scope,
        advanced_parameters=advanced_quantization_parameters,
        target_runtime=validate_with if isinstance(validate_with, str) and validate_with in _GRIDS else None,
    )
    if is_openvino_model(model):
        given_options = {
            key: value
            for key, value in vars(options).items()
            if key not in ("mode", "advanced_parameters", "target_runtime")
        }
        further = {
            "validation_fn": validation_fn,
            "max_drop": max_drop,
            "drop_type": drop_type,
            "advanced_quantization_parameters": advanced_quantization_parameters,
            "advanced_accuracy_restorer_parameters": advanced_accuracy_restorer_parameters,
        }
        own = {
            "validate_with": (validate_with, "keras"),
            "higher_is_better": (higher_is_better, True),
            "max_evaluations": (max_evaluations, None),
            "max_seconds": (max_seconds, None),
            "on_failure": (on_failure, "raise"),
            "record": (record, None),
        }
        for name, (given, default) in own.items():
            if given != default:
                raise ConfigError(
                    f"'{name}' is not for an openvino.Model, which NNCF quantizes. Expected: its default, {default!r}. "
                    f"Received: {short_repr(given)}. Leave it out, or quantize the Keras model."
                )
        data = [calibration_dataset, validation_dataset]
        return quantize_openvino_model("quantize_with_accuracy_control", model, data, {**given_options, **further})
    choice("on_failure", on_failure, ("raise", "return_best"), join=" or ")
    higher_is_better = flag("higher_is_better", higher_is_better)
    iterations = _iterations(advanced_accuracy_restorer_parameters)
    max_drop = number("max_drop", max_drop)
    if max_evaluations is not None:
        max_evaluations = whole_number(
            "max_evaluations", max_evaluations, 2
        )  # the original model, and all layers quantized
    if max_seconds is not None and not number("max_seconds", max_seconds) > 0:
        raise wrong("max_seconds", "seconds above 0", max_seconds)
    if record is not None:
        record = checked_path("record", record)
    calibration = Dataset.of(calibration_dataset)
    validator = Validator(validation_fn, validation_dataset, validate_with, calibration)
    target = Target(max_drop, _drop_type(drop_type), higher_is_better)
    quantized = calibrated_by_options(model, calibration, options)
    limits = [limit for limit in (max_evaluations, iterations) if limit is not None]
    budget = Budget(min(limits, default=None), max_seconds)
    known = None if record is None else EvaluationRecord(Path(record), quantized, validate_with)
    search = AccuracySearch(quantized, validator, target, budget, known)
    try:
        found, report = search.run()
    except AccuracyTargetNotMet as error:
        if on_failure == "raise":
            raise
        found, report = error.model, error.report
    vars(found)["accuracy_report"] = report  # past Keras' setattr, which would track it
    return found


def _drop_type(value: Any) -> DropType:
    return DropType(choice("drop_type", value, [member.value for member in DropType], join=" or "))


def _iterations(parameters: Any) -> int | None:
    """Return the number of evaluations that NNCF's parameters allow; refuse what has no meaning here."""
    if parameters is None:
        return None
    values = plain_values(parameters)  # without what has its default
    if not isinstance(values, dict):
        raise ConfigError(
            "Wrong value for 'advanced_accuracy_restorer_parameters'. Expected: NNCF's object, or a dict with "
            f"'max_num_iterations'. Received: {short_repr(parameters)}."
        )
    for name, value in values.items():
        if name != "max_num_iterations":
            raise ConfigError(
                f"'advanced_accuracy_restorer_parameters.{name}' cannot be honoured for a Keras model. Expected: its default. "
                f"Received: {short_repr(value)}. Layers are ranked without evaluations here; record=… keeps intermediate results."
            )
    most = values.get("max_num_iterations")
    return None if most is None else whole_number("advanced_accuracy_restorer_parameters.max_num_iterations", most, 2)
