"""The settings of quantizers: mode, bits and first ranges; for all, for weights or activations, and by scope.

Values only. What is done with them is in :mod:`~keras_compress.algorithms.quantization`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from keras_compress.algorithms.base import ScopeList
from keras_compress.calibration import BatchNormAdaptation, RangeInitializer
from keras_compress.layers.settings_check import LARGEST_RANGE
from keras_compress.numerics import SMALLEST_RANGE
from keras_compress.settings import OneOrMore, Settings

__all__ = [
    "ActivationOverrideSettings",
    "GroupSettings",
    "OverrideSettings",
    "QuantizerInit",
    "QuantizerSettings",
    "ScopeOverrides",
    "ScopedRangeInitializer",
]

Mode = Literal["symmetric", "asymmetric"]


class QuantizerSettings(Settings):
    """Settings of quantizers; a key that is absent leaves the choice to what surrounds it."""

    mode: Mode | None = None
    """``symmetric`` or ``asymmetric``; by default what the preset says."""
    bits: int | None = Field(None, ge=2, le=8)
    """2 to 8. Default 8."""
    signed: bool | None = None
    """Forces signed or unsigned symmetric quantizers; by default the data decide."""
    per_channel: bool | None = None
    """One range per channel. Default: true for weights (false on target device TRIAL), false for activations."""
    logarithm_scale: bool | None = None
    """Accepted, without effect: the scale itself is trained."""


class GroupSettings(QuantizerSettings):
    """Settings of all weight quantizers or all activation quantizers, and the layers they apply to; a number is the bits."""

    @model_validator(mode="before")
    @classmethod
    def _bits_alone(cls, values: Any) -> Any:
        return {"bits": values} if isinstance(values, int) and not isinstance(values, bool) else values

    ignored_scopes: ScopeList = ()
    """Layers whose quantizers of this group are left out. Default: none."""
    target_scopes: ScopeList | None = None
    """The only layers that get quantizers of this group. Default: all."""
    unified_scale_ops: tuple[tuple[str, ...], ...] = ()
    """For activations: lists of layers whose outputs share one range. Default: none."""


class ScopedRangeInitializer(RangeInitializer):
    """A range initializer for some layers, and for weights or activations only."""

    ignored_scopes: ScopeList = ()
    """Layers it is not for. Default: none."""
    target_scopes: ScopeList | None = None
    """The only layers it is for. Default: all."""
    target_quantizer_group: Literal["activations", "weights"] | None = None
    """``activations`` or ``weights``. Default: both."""


RangeList = Annotated[tuple[ScopedRangeInitializer, ...], OneOrMore()]


class OverrideInit(Settings):
    """Initialization of the quantizers of one scope."""

    range: RangeInitializer | None = None
    """How their ranges are first set. Default: as everywhere."""


class OverrideSettings(QuantizerSettings):
    """Settings for the layers of one scope."""

    initializer: OverrideInit = OverrideInit()
    """How their quantizers get their first numbers."""


class ActivationOverrideSettings(OverrideSettings):
    """Settings for the quantizers behind the layers of one scope."""

    min: Annotated[float, Field(strict=True, le=0)] | None = None
    """Lowest value of a fixed range, with `max`: it is neither measured nor trained, and is the one of every file. Default: none."""
    max: Annotated[float, Field(strict=True, ge=0)] | None = None
    """Highest value of the fixed range. Where zero is on no level of the grid, one end moves outwards until it is."""

    @property
    def ends(self) -> tuple[float, float] | None:
        """The fixed range, None if there is none."""
        return None if self.min is None or self.max is None else (self.min, self.max)

    @model_validator(mode="after")
    def _a_range_or_none(self) -> ActivationOverrideSettings:
        if (self.min is None) != (self.max is None):
            raise ValueError(f"Expected: both 'min' and 'max', or neither. Received: min={self.min}, max={self.max}.")
        if self.ends is not None and not SMALLEST_RANGE < self.ends[1] - self.ends[0] < LARGEST_RANGE:
            raise ValueError(
                f"Expected: 'min' below 'max', as far apart as float32 can tell and hold. Received: min={self.min}, max={self.max}."
            )
        if self.ends is not None and self.initializer.range is not None:
            raise ValueError(
                "Expected: either a fixed range ('min', 'max') or how one is measured ('initializer'). Received: both. Leave one out."
            )
        return self


class ScopeOverrides(Settings):
    """Settings by scope."""

    weights: dict[str, OverrideSettings] = Field(default_factory=dict)
    """Settings of the weight quantizers of each scope."""
    activations: dict[str, ActivationOverrideSettings] = Field(default_factory=dict)
    """Settings of the activation quantizers of each scope, by the layer whose output is quantized."""


class PrecisionInitializer(Settings):
    """Bits by scope: ``{"type": "manual", "bitwidth_per_scope": [[4, "conv1"], …]}``; keys of a search are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str = "manual"
    """``manual``; an automatic search is refused."""
    bitwidth_per_scope: tuple[tuple[Annotated[int, Field(ge=2, le=8)], str], ...] = ()
    """Pairs of a number of bits, 2 to 8, and a scope. Default: none."""

    @model_validator(mode="before")
    @classmethod
    def _only_manual(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("type", "manual") != "manual":
            raise ValueError(
                'Expected: "manual". Automatic search of bit widths is not available. '
                f'Received: type={values["type"]!r}. List the bits under "bitwidth_per_scope" instead.'
            )
        return values


class QuantizerInit(Settings):
    """How quantizers and the model around them get their first numbers."""

    range: RangeList = (ScopedRangeInitializer(),)
    """How ranges are first set; in a list, the first that is for a layer and its group counts."""
    batchnorm_adaptation: BatchNormAdaptation = BatchNormAdaptation()
    """Adaptation of batch normalization to the quantizers."""
    bias_correction: bool = True
    """Correct biases by what quantized weights add to the means of outputs, where that brings the outputs nearer to those in
    floating point. Default True."""
    precision: PrecisionInitializer = PrecisionInitializer()
    """Bits by layer."""
