"""quantize, quantize_with_accuracy_control and analyze: what a user calls after training."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

from keras_compress._keras import is_graph_model, keras
from keras_compress.data import Dataset
from keras_compress.errors import AccuracyTargetNotMet, ConfigError, shown
from keras_compress.graph import ModelGraph, take
from keras_compress.graph.model_check import first_compressed_layer, require_compressible
from keras_compress.post_training.accuracy_control import AccuracySearch, Budget, DropType, Target
from keras_compress.post_training.calibrated_model import CalibratedModel, Corrections, calibrated
from keras_compress.post_training.ignored_scope import IgnoredScope, ignored_scopes, scope_of
from keras_compress.post_training.openvino_models import is_openvino_model, quantize_openvino_model
from keras_compress.post_training.parameters import (
    AdvancedQuantizationParameters,
    ModelType,
    QuantizationPreset,
    TargetDevice,
    quantization_config,
)
from keras_compress.post_training.sensitivity import SensitivityReport, analyze_layers
from keras_compress.post_training.user_parameters import plain_values
from keras_compress.post_training.validation import Validator
from keras_compress.settings import validated

__all__ = ["analyze", "quantize", "quantize_with_accuracy_control"]


def quantize(
    model: keras.Model,
    calibration_dataset: Any,
    *,
    mode: None = None,
    preset: QuantizationPreset | str | None = None,
    target_device: TargetDevice | str = TargetDevice.ANY,
    subset_size: int = 300,
    fast_bias_correction: bool = True,
    model_type: ModelType | str | None = None,
    ignored_scope: IgnoredScope | list[str] | None = None,
    advanced_parameters: AdvancedQuantizationParameters | dict | None = None,
) -> keras.Model:
    """Return a quantized copy of a trained model, made from a few hundred samples without training.

    It is a compressed Keras model like those of ``create_compressed_model``: it can be exported with ``kc.export_model``,
    saved, and fine-tuned as it is.

    Args:
        model: a built Functional or Sequential tf-keras model; it is only read. An ``openvino.Model`` is quantized by NNCF.
        calibration_dataset: samples like those the model will see: a ``kc.Dataset`` or what it takes.
        mode: of NNCF, for 8-bit floating point; refused.
        preset: ``"performance"`` (default) or ``"mixed"``: symmetric or asymmetric activations. For transformers ``"mixed"``.
        target_device: ``"ANY"`` (default), ``"CPU"``, ``"GPU"``, ``"NPU"`` or ``"CPU_SPR"``.
        subset_size: how many samples are used. Default 300.
        fast_bias_correction: False corrects biases layer after layer, which is slower and takes the errors of quantized
            activations into account. Default True.
        model_type: ``"transformer"`` or None.
        ignored_scope: layers that stay in floating point, as :class:`IgnoredScope` or a list of paths.
        advanced_parameters: everything else; a dict is taken as :class:`AdvancedQuantizationParameters`.

    Raises:
        UnsupportedModelError: the model is no graph of layers, not built, or compressed already.
        ConfigError: a parameter is wrong or cannot be honoured.
        DataError: the data do not fit the model.

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
        >>> quantized = quantize(model, np.random.default_rng(0).normal(size=(32, 4)).astype("float32"))
        >>> quantized.get_layer("dense").weight_ops[0].num_bits
        8

    Source: Jacob et al. 2018, arXiv:1712.05877; Nagel et al. 2021, arXiv:2106.08295.
    """
    arguments: dict[str, Any] = {
        "mode": mode,
        "preset": preset,
        "target_device": target_device,
        "subset_size": subset_size,
        "fast_bias_correction": fast_bias_correction,
        "model_type": model_type,
        "ignored_scope": ignored_scope,
    }
    if is_openvino_model(model):
        return quantize_openvino_model(
            "quantize", model, [calibration_dataset], {**arguments, "advanced_parameters": advanced_parameters}
        )
    return _calibrated(model, calibration_dataset, advanced_parameters, **arguments).model


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

    The layers that suffer most from quantization return to floating point, as few as possible. What happened is the attribute
    ``accuracy_report`` of the model, an :class:`~keras_compress.post_training.AccuracyReport`.

    Args:
        model, calibration_dataset, preset, target_device, subset_size, fast_bias_correction, model_type, ignored_scope:
            as for :func:`quantize`.
        validation_dataset: handed to ``validation_fn``; a ``kc.Dataset`` as its elements before ``transform_func``.
        validation_fn: ``validation_fn(model, data)`` returns the metric, or a tuple of it and values per sample.
        max_drop: the greatest drop of the metric. Default 0.01.
        drop_type: ``"absolute"`` (default) in units of the metric, or ``"relative"`` to the metric of the original model.
        advanced_quantization_parameters: as ``advanced_parameters`` of :func:`quantize`.
        advanced_accuracy_restorer_parameters: of NNCF; of these ``max_num_iterations`` is taken as ``max_evaluations``, the
            others are refused for a Keras model.
        validate_with: ``"keras"`` (default), or ``"openvino"``, ``"onnxruntime"``, ``"tflite"``: every candidate is exported and
            opened there, and ``validation_fn`` gets an ``openvino.CompiledModel``, an ``onnxruntime.InferenceSession`` or an
            interpreter.
        higher_is_better: False for metrics such as an error. Default True.
        max_evaluations: how often ``validation_fn`` may be called. Default: as often as needed, which is about twice the
            binary logarithm of the number of layers, and once or twice more for each layer that returns.
        max_seconds: after which no further evaluation begins. Default: none.
        on_failure: ``"raise"`` (default) or ``"return_best"``, what happens if the target is not met.
        record: JSON file in which evaluations are written down; an interrupted run with the same arguments goes on from it.
            It cannot know whether the validation data have changed. Default: none.

    Raises:
        AccuracyTargetNotMet: the target was not met; the error carries the best model and the report.
        As :func:`quantize`.

    Example::

        def validate(model, data):
            images, labels = data
            return np.mean(model.predict(images).argmax(-1) == labels)

        quantized = kc.quantize_with_accuracy_control(model, images, (test_images, test_labels), validate, max_drop=0.005)
        print(quantized.accuracy_report)
    """
    arguments: dict[str, Any] = {
        "preset": preset,
        "target_device": target_device,
        "subset_size": subset_size,
        "fast_bias_correction": fast_bias_correction,
        "model_type": model_type,
        "ignored_scope": ignored_scope,
    }
    if is_openvino_model(model):
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
                    f"Received: {shown(given)}. Leave it out, or quantize the Keras model."
                )
        data = [calibration_dataset, validation_dataset]
        return quantize_openvino_model("quantize_with_accuracy_control", model, data, {**arguments, **further})
    if on_failure not in ("raise", "return_best"):
        raise ConfigError(
            f"Wrong value for 'on_failure'. Expected: 'raise' or 'return_best'. Received: {shown(on_failure)}."
        )
    iterations = _iterations(advanced_accuracy_restorer_parameters)
    if isinstance(max_drop, bool) or not isinstance(max_drop, Real) or not math.isfinite(max_drop):
        raise ConfigError(f"Wrong value for 'max_drop'. Expected: a finite number. Received: {shown(max_drop)}.")
    if max_evaluations is not None:
        max_evaluations = _number("max_evaluations", max_evaluations, 2)  # the original model, and all layers quantized
    if max_seconds is not None and (not isinstance(max_seconds, Real) or not max_seconds > 0):
        raise ConfigError(f"Wrong value for 'max_seconds'. Expected: seconds above 0. Received: {shown(max_seconds)}.")
    calibration = _dataset(calibration_dataset)
    validator = Validator(validation_fn, validation_dataset, validate_with, calibration)
    target = Target(max_drop, _drop_type(drop_type), higher_is_better)
    quantized = _calibrated(model, calibration, advanced_quantization_parameters, **arguments)
    limits = [limit for limit in (max_evaluations, iterations) if limit is not None]
    budget = Budget(min(limits, default=None), max_seconds)
    search = AccuracySearch(
        quantized, validator, target, budget, None if record is None else Path(record), validate_with
    )
    try:
        found, report = search.run()
    except AccuracyTargetNotMet as error:
        if on_failure == "raise":
            raise
        found, report = error.model, error.report
    vars(found)["accuracy_report"] = report  # past Keras' setattr, which would track it
    return found


def analyze(
    model: keras.Model,
    data: Any,
    *,
    samples: int = 64,
    only_one: bool = True,
    leave_one_out: bool = True,
    **options: Any,
) -> SensitivityReport:
    """Return which layers suffer from quantization, and what each of them costs the outputs of the model.

    Args:
        model: a compressed model, which is compared with itself in floating point, or a plain one, which is quantized first
            (without correction of biases, so that the damage is that of quantization alone). It is only read.
        data: samples: a ``kc.Dataset`` or what it takes. No labels are needed.
        samples: how many the errors are measured on. Default 64.
        only_one: measure the outputs with each layer quantized alone, which takes a run per layer. Default True.
        leave_one_out: measure the outputs with each layer alone in floating point. Default True. Without both, the analysis
            takes two runs in all.
        options: of :func:`quantize`, for a plain model.

    Returns:
        A report that prints as a table, is saved as CSV or JSON, and can be drawn.

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")])
        >>> report = analyze(model, np.random.default_rng(0).normal(size=(32, 4)).astype("float32"))
        >>> sorted(row.layer for row in report.rows)
        ['a', 'b']
    """
    dataset = _dataset(data)
    samples = _number("samples", samples, 1)
    allowed = list(inspect.signature(quantize).parameters)[2:]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ConfigError(
            f"analyze has no option '{unknown[0]}'. Expected: one of {allowed}. Received: {sorted(options)}."
        )
    if isinstance(model, keras.Model) and is_graph_model(model) and first_compressed_layer(model):
        if options:
            raise ConfigError(
                f"The model is compressed already, so {sorted(options)} mean nothing. Expected: no options. Leave them out."
            )
        compressed = model
    else:
        compressed = _calibrated(model, dataset, options.pop("advanced_parameters", None), **options).uncorrected()
    return analyze_layers(compressed, dataset, samples, only_one=only_one, leave_one_out=leave_one_out)


def _calibrated(
    model: keras.Model,
    data: Any,
    advanced_parameters: AdvancedQuantizationParameters | dict | None,
    *,
    mode: None = None,
    preset: QuantizationPreset | str | None = None,
    target_device: TargetDevice | str = TargetDevice.ANY,
    subset_size: int = 300,
    fast_bias_correction: bool = True,
    model_type: ModelType | str | None = None,
    ignored_scope: IgnoredScope | list[str] | None = None,
) -> CalibratedModel:
    if mode is not None:
        raise ConfigError(
            f"'mode' cannot be honoured: 8-bit floating point is not available. Expected: mode=None. Received: mode={shown(mode)}. Leave it out for INT8."
        )
    subset_size = _number("subset_size", subset_size, 1)
    require_compressible(model)
    given = {} if advanced_parameters is None else advanced_parameters
    advanced = validated(AdvancedQuantizationParameters, given, "advanced_parameters")
    scope = scope_of(ignored_scope)
    config = quantization_config(
        preset=preset,
        target_device=target_device,
        subset_size=subset_size,
        model_type=model_type,
        ignored_scopes=ignored_scopes(scope, ModelGraph(take(model))),
        validate_scopes=scope.validate_scopes,
        advanced=advanced,
    )
    bias = None if advanced.disable_bias_correction else "fast" if fast_bias_correction else "sequential"
    corrections = Corrections(not advanced.disable_channel_alignment, bias, advanced.adaptive_rounding)
    with model.distribute_strategy.scope():
        return calibrated(model, config, _dataset(data), subset_size, corrections)


def _dataset(data: Any) -> Dataset:
    return data if isinstance(data, Dataset) else Dataset(data)


def _number(name: str, value: Any, least: int) -> int:
    """Return a whole number, or raise a ConfigError that names the parameter."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ConfigError(
            f"Wrong value for '{name}'. Expected: a whole number, {least} or more. Received: {shown(value)}."
        )
    return int(value)


def _drop_type(value: Any) -> DropType:
    try:
        return DropType(getattr(value, "value", value))
    except ValueError:
        raise ConfigError(
            f"Wrong value for 'drop_type'. Expected: 'absolute' or 'relative'. Received: {shown(value)}."
        ) from None


def _iterations(parameters: Any) -> int | None:
    """Return the number of evaluations that NNCF's parameters allow; refuse what has no meaning here."""
    if parameters is None:
        return None
    values = plain_values(parameters)  # without what has its default
    if not isinstance(values, dict):
        raise ConfigError(
            "Wrong value for 'advanced_accuracy_restorer_parameters'. Expected: NNCF's object, or a dict with "
            f"'max_num_iterations'. Received: {shown(parameters)}."
        )
    for name, value in values.items():
        if name != "max_num_iterations":
            raise ConfigError(
                f"'advanced_accuracy_restorer_parameters.{name}' cannot be honoured for a Keras model. Expected: its default. "
                f"Received: {shown(value)}. Layers are ranked without evaluations here; record=… keeps intermediate results."
            )
    most = values.get("max_num_iterations")
    return None if most is None else _number("advanced_accuracy_restorer_parameters.max_num_iterations", most, 2)
