"""quantize: a trained model and a few hundred samples become a quantized model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from keras_compress._keras import keras
from keras_compress.arguments import flag, whole_number
from keras_compress.data import Dataset
from keras_compress.errors import ConfigError, short_repr
from keras_compress.graph import ModelGraph, take
from keras_compress.graph.model_check import require_compressible
from keras_compress.initialization import Corrections
from keras_compress.post_training.calibrated_model import CalibratedModel, calibrated
from keras_compress.post_training.ignored_scope import IgnoredScope, ignored_scopes, scope_of
from keras_compress.post_training.openvino_models import is_openvino_model, quantize_openvino_model
from keras_compress.post_training.parameters import (
    AdvancedQuantizationParameters,
    ModelType,
    QuantizationPreset,
    TargetDevice,
    quantization_config,
)
from keras_compress.settings import validated

__all__ = ["QuantizeOptions", "calibrated_by_options", "quantize"]


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
    target_runtime: str | Sequence[str] | None = None,
) -> keras.Model:
    """Return a quantized copy of a trained model, made from a few hundred samples without training.

    It is a compressed Keras model like those of ``create_compressed_model``: it can be exported with
    ``kc.export_model``, saved, and fine-tuned as it is.

    Args:
        model: a built Functional or Sequential tf-keras model; it is only read. An ``openvino.Model`` is quantized by
            NNCF.
        calibration_dataset: samples like those the model will see: a ``kc.Dataset`` or what it takes.
        mode: of NNCF, for 8-bit floating point; refused.
        preset: ``"performance"`` (default) or ``"mixed"``: symmetric or asymmetric activations; ``"auto"``: the data decide
            for each. For transformers ``"mixed"``.
        target_device: ``"ANY"`` (default), ``"CPU"``, ``"GPU"``, ``"NPU"`` or ``"CPU_SPR"``.
        subset_size: how many samples are used. Default 300.
        fast_bias_correction: False corrects biases layer after layer, which is slower and takes the errors of quantized
            activations into account. Default True.
        model_type: ``"transformer"`` or None.
        ignored_scope: layers that stay in floating point, as :class:`IgnoredScope` or a list of paths.
        advanced_parameters: everything else; a dict is taken as :class:`AdvancedQuantizationParameters`.
        target_runtime: ``"openvino"`` (default), ``"onnxruntime"``, ``"tflite"``, ``"tensorrt"`` or a list: the quantizers that
            these need stand in the model, and exports add none.

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
    options = QuantizeOptions(
        mode=mode,
        preset=preset,
        target_device=target_device,
        subset_size=subset_size,
        fast_bias_correction=fast_bias_correction,
        model_type=model_type,
        ignored_scope=ignored_scope,
        advanced_parameters=advanced_parameters,
        target_runtime=target_runtime,
    )
    if is_openvino_model(model):
        return quantize_openvino_model("quantize", model, [calibration_dataset], vars(options))
    return calibrated_by_options(model, calibration_dataset, options).model


@dataclass(frozen=True)
class QuantizeOptions:
    """The options of :func:`quantize`, with its defaults."""

    mode: None = None
    preset: QuantizationPreset | str | None = None
    target_device: TargetDevice | str = TargetDevice.ANY
    subset_size: int = 300
    fast_bias_correction: bool = True
    model_type: ModelType | str | None = None
    ignored_scope: IgnoredScope | list[str] | None = None
    advanced_parameters: AdvancedQuantizationParameters | dict | None = None
    target_runtime: str | Sequence[str] | None = None


def calibrated_by_options(model: keras.Model, data: Any, options: QuantizeOptions) -> CalibratedModel:
    """Quantize a model as :func:`quantize` does, and return all that belongs to it."""
    if options.mode is not None:
        raise ConfigError(
            f"'mode' cannot be honoured: 8-bit floating point is not available. Expected: mode=None. Received: mode={short_repr(options.mode)}. Leave it out for INT8."
        )
    subset_size = whole_number("subset_size", options.subset_size, 1)
    fast = flag("fast_bias_correction", options.fast_bias_correction)
    require_compressible(model)
    given = {} if options.advanced_parameters is None else options.advanced_parameters
    advanced = validated(AdvancedQuantizationParameters, given, "advanced_parameters")
    scope = scope_of(options.ignored_scope)
    config = quantization_config(
        preset=options.preset,
        target_device=options.target_device,
        subset_size=subset_size,
        model_type=options.model_type,
        ignored_scopes=ignored_scopes(scope, ModelGraph(take(model))),
        validate_scopes=scope.validate_scopes,
        advanced=advanced,
        target_runtime=options.target_runtime,
    )
    bias: Literal["fast", "sequential"] | None
    bias = None if advanced.disable_bias_correction else "fast" if fast else "sequential"
    corrections = Corrections(bias, advanced.adaptive_rounding, subset_size, new_statistics=False)
    equalize = not advanced.disable_channel_alignment
    with model.distribute_strategy.scope():
        return calibrated(model, config, Dataset.of(data), corrections, equalize=equalize)
