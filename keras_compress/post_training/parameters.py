"""The parameters of post-training quantization: NNCF's names and defaults, translated into a configuration.

What cannot be honoured here is refused by name, with a way out.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from keras_compress.algorithms.quantization import Quantization
from keras_compress.algorithms.quantizer_settings import GroupSettings, QuantizerInit, ScopedRangeInitializer
from keras_compress.arguments import choice
from keras_compress.calibration import AdaptiveRounding, BatchNormAdaptation
from keras_compress.config import CompressionConfig
from keras_compress.errors import ConfigError, short_repr
from keras_compress.post_training.range_parameters import RangeEstimatorParameters, range_initializer
from keras_compress.post_training.user_parameters import UserParameters

__all__ = [
    "AdvancedBiasCorrectionParameters",
    "AdvancedQuantizationParameters",
    "ModelType",
    "OverflowFix",
    "QuantizationParameters",
    "QuantizationPreset",
    "TargetDevice",
    "quantization_config",
]


class QuantizationPreset(str, enum.Enum):
    """``PERFORMANCE``: symmetric weights and activations. ``MIXED``: asymmetric activations. ``AUTO``: the data decide for each."""

    PERFORMANCE = "performance"
    MIXED = "mixed"
    AUTO = "auto"


class TargetDevice(str, enum.Enum):
    """What the model will run on."""

    ANY = "ANY"
    CPU = "CPU"
    GPU = "GPU"
    NPU = "NPU"
    CPU_SPR = "CPU_SPR"


class ModelType(str, enum.Enum):
    """Kinds of models that are treated in a way of their own."""

    TRANSFORMER = "transformer"


class OverflowFix(str, enum.Enum):
    """Where weights use half of their 8-bit range, for CPUs with AVX2 or AVX-512 that have no VNNI."""

    ENABLE = "enable"
    FIRST_LAYER = "first_layer_only"
    DISABLE = "disable"


class QuantizationParameters(UserParameters):
    """Settings of all weight quantizers or all activation quantizers; None leaves the choice to the preset.

    Example:
        >>> QuantizationParameters(num_bits=4, per_channel=True).num_bits
        4
    """

    num_bits: int | None = Field(None, ge=2, le=8)
    mode: Literal["symmetric", "asymmetric"] | None = None
    signedness_to_force: bool | None = None
    per_channel: bool | None = None
    narrow_range: bool | None = None


class AdvancedBiasCorrectionParameters(UserParameters):
    """Of the correction of biases; accepted, and the defaults are the only values."""

    apply_for_all_nodes: Literal[False] = False
    threshold: None = None


class AdvancedQuantizationParameters(UserParameters):
    """Everything about post-training quantization that has a good default.

    Example:
        >>> from keras_compress.calibration import AdaptiveRounding
        >>> weights = QuantizationParameters(num_bits=4)
        >>> advanced = AdvancedQuantizationParameters(weights_quantization_params=weights, adaptive_rounding=AdaptiveRounding())
        >>> advanced.weights_quantization_params.num_bits, advanced.adaptive_rounding.steps
        (4, 1000)
    """

    overflow_fix: OverflowFix | None = None
    """See :class:`OverflowFix`. Default: none."""
    quantize_outputs: bool = False
    """Also quantize the outputs of the model. Default False."""
    inplace_statistics: bool = True
    """Of NNCF; anything but its default is refused."""
    disable_channel_alignment: bool = True
    """False equalizes channels between layers first. Default True."""
    disable_bias_correction: bool = False
    """Do not correct biases. Default False."""
    batchwise_statistics: bool | None = None
    """Of NNCF; anything but its default is refused."""
    activations_quantization_params: QuantizationParameters = QuantizationParameters()
    """Bits, mode and granularity."""
    weights_quantization_params: QuantizationParameters = QuantizationParameters()
    """Bits, mode and granularity."""
    quantizer_propagation_rule: Any = None
    """Of NNCF; anything but its default is refused."""
    activations_range_estimator_params: RangeEstimatorParameters = RangeEstimatorParameters()
    """How ranges are found."""
    weights_range_estimator_params: RangeEstimatorParameters = RangeEstimatorParameters()
    """How ranges are found."""
    bias_correction_params: AdvancedBiasCorrectionParameters = AdvancedBiasCorrectionParameters()
    """The same."""
    smooth_quant_alphas: Any = None
    """The same."""
    smooth_quant_alpha: float | None = None
    """The same."""
    backend_params: dict[str, Any] = Field(default_factory=dict)
    """Of NNCF; anything but its default is refused."""
    adaptive_rounding: AdaptiveRounding | None = None
    """Learn the rounding of weights; worth its minutes below 8 bits. Default: not."""
    batch_norm_adaptation: int | None = Field(None, ge=0)
    """Samples for the adaptation of batch normalization, 0 for none. Default: it is tried on 2000 where the outputs are far
    from those in floating point, and kept where it brings them nearer."""


#: Parameters of NNCF that mean nothing here, with the reason.
_REFUSED = {
    "batchwise_statistics": "statistics are those of single samples here, whatever the batches",
    "quantizer_propagation_rule": "quantizers are placed by what reads them",
    "smooth_quant_alphas": "activations are not smoothed into weights",
    "smooth_quant_alpha": "activations are not smoothed into weights",
    "backend_params": "there is no backend behind a Keras model",
}


def quantization_config(
    *,
    preset: QuantizationPreset | str | None,
    target_device: TargetDevice | str,
    subset_size: int,
    model_type: ModelType | str | None,
    ignored_scopes: tuple[str, ...],
    validate_scopes: bool,
    advanced: AdvancedQuantizationParameters,
    target_runtime: str | Sequence[str] | None = None,
) -> CompressionConfig:
    """Return the configuration that the parameters of ``quantize`` mean.

    Raises:
        ConfigError: a parameter has a value that cannot be honoured.
    """
    _refuse(advanced)
    kind = None if model_type is None else _member(ModelType, model_type, "model_type")
    if preset is None:
        preset = QuantizationPreset.MIXED if kind is ModelType.TRANSFORMER else QuantizationPreset.PERFORMANCE
    groups = {
        name: _group(getattr(advanced, f"{name}_quantization_params"), name) for name in ("weights", "activations")
    }
    ranges = tuple(
        ScopedRangeInitializer(
            **range_initializer(getattr(advanced, f"{name}_range_estimator_params"), name, subset_size).model_dump(
                exclude_unset=True
            ),
            target_quantizer_group=name,
        )
        for name in ("weights", "activations")
    )
    algorithm = Quantization(
        preset=_member(QuantizationPreset, preset, "preset").value,
        quantize_outputs=advanced.quantize_outputs,
        overflow_fix=(advanced.overflow_fix or OverflowFix.DISABLE).value,
        ignored_scopes=ignored_scopes,
        validate_scopes=validate_scopes,
        initializer=QuantizerInit(
            range=ranges,
            batchnorm_adaptation=_batch_norm_adaptation(advanced.batch_norm_adaptation),
        ),
        **groups,
    )
    device = _member(TargetDevice, target_device, "target_device").value
    runtime = {} if target_runtime is None else {"target_runtime": target_runtime}
    return CompressionConfig(compression=(algorithm,), target_device=device, **runtime)


def _batch_norm_adaptation(samples: int | None) -> BatchNormAdaptation:
    return BatchNormAdaptation() if samples is None else BatchNormAdaptation(num_bn_adaptation_samples=samples)


def _refuse(advanced: AdvancedQuantizationParameters) -> None:
    defaults = AdvancedQuantizationParameters()
    for name, reason in _REFUSED.items():
        value = getattr(advanced, name)
        if value != getattr(defaults, name):
            raise ConfigError(
                f"'advanced_parameters.{name}' cannot be honoured: {reason}. Expected: its default. "
                f"Received: {name}={short_repr(value)}. Leave it out."
            )


def _member(kind: type[enum.Enum], value: Any, name: str) -> Any:
    """Return the member of an enum, given as such, by its value, or as the same member of another package's enum."""
    return kind(choice(name, value, [member.value for member in kind]))


def _group(parameters: QuantizationParameters, name: str) -> GroupSettings:
    if parameters.narrow_range is not None:
        raise ConfigError(
            f"'{name}_quantization_params.narrow_range' cannot be honoured: symmetric weights leave out the lowest level, "
            f"nothing else does. Expected: None. Received: narrow_range={parameters.narrow_range}. Leave it out."
        )
    return GroupSettings(
        mode=parameters.mode,
        bits=parameters.num_bits,
        signed=parameters.signedness_to_force,
        per_channel=parameters.per_channel,
    )
