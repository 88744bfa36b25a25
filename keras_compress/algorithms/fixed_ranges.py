"""Fixed ranges: ends of the range of an activation that the configuration gives by scope, in place of measured and trained ones.

Values only; that such a range stays is seen to by :class:`~keras_compress.layers.FakeQuantize`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from keras_compress.algorithms.quantizer_settings import ActivationOverrideSettings, QuantizerSettings
from keras_compress.algorithms.scope import matches
from keras_compress.errors import ConfigError, close_matches
from keras_compress.graph.quantization_points import QuantizationPoint
from keras_compress.layers import AsymmetricFakeQuantize, FakeQuantize, SymmetricFakeQuantize
from keras_compress.numerics import symmetric_bounds

__all__ = ["fixed_quantizer", "fixed_range", "require_quantizers"]

_KEY = "scope_overrides.activations"
Overrides = Mapping[str, ActivationOverrideSettings]
Ends = tuple[float, float]


def fixed_range(overrides: Overrides, point: QuantizationPoint) -> Ends | None:
    """Return the ends of the range that the configuration gives to the tensors of a point, None if it gives none.

    Of several scopes that name a layer the last one counts, as for all settings.

    Raises:
        ConfigError: tensors that share one range are given different ones.
    """
    found: dict[Ends, str] = {}
    for source in point.sources:
        ends = [override.ends for scope, override in overrides.items() if matches(scope, source.layer)]
        given = [pair for pair in ends if pair is not None]
        if given:
            found.setdefault(given[-1], source.layer)
    if len(found) > 1:
        (one, first), (other, second), *_ = found.items()
        raise ConfigError(
            f"The outputs of '{first}' and '{second}' are quantized with one range, because the same layer reads them both. Expected: "
            f"the same 'min' and 'max' for both in '{_KEY}'. Received: {_text(one)} and {_text(other)}. Give both layers one range."
        )
    return next(iter(found), None)


def require_quantizers(overrides: Overrides, quantized: Iterable[str], paths: Iterable[str]) -> None:
    """Raise a ConfigError unless each scope with a fixed range names a layer whose output is quantized.

    Args:
        overrides: settings by scope.
        quantized: paths of layers whose outputs get a quantizer.
        paths: of all layers.
    """
    quantized, paths = list(dict.fromkeys(quantized)), list(paths)
    for scope, override in overrides.items():
        named = [path for path in paths if matches(scope, path)]
        if override.ends is None or not named or set(named) & set(quantized):
            continue
        near = close_matches(named[0], quantized) or quantized[:5]
        raise ConfigError(
            f"'{_KEY}.{scope}' gives a range to the output of '{named[0]}', which is not quantized. Expected: a layer with a quantizer "
            f"behind it, as {', '.join(map(repr, near)) or 'none of this model'}. Received: {_KEY}={{{scope!r}: {_text(override.ends)}}}. "
            "Name the last layer before the quantizer (an activation or a normalization belongs to the layer before it), and "
            '"quantize_outputs": true for an output of the model.'
        )


def fixed_quantizer(
    name: str, settings: QuantizerSettings, ends: Ends, layer: str, *, chosen_mode: bool, **options: Any
) -> FakeQuantize:
    """Return the quantizer of activations with a fixed range.

    A range from zero up, or from minus to plus the same number, is one of a symmetric quantizer; any other takes an asymmetric one,
    which it gets unless the configuration says otherwise.

    Args:
        name: of the quantizer.
        settings: of the quantizer, complete.
        ends: of the range.
        layer: path of the layer before the quantizer, to be named in errors.
        chosen_mode: whether the mode was chosen, and does not only follow from the preset.
        options: further arguments of the quantizer.

    Raises:
        ConfigError: the configuration asks for a symmetric quantizer, or a sign, that cannot have the range.
    """
    low, high = ends
    bits = settings.bits or 8
    lowest, largest = symmetric_bounds(bits, signed=True, narrow_range=False)
    about_zero = low < 0 and any(math.isclose(-low, high * factor, rel_tol=1e-6) for factor in (1.0, -lowest / largest))
    if settings.mode == "asymmetric" or not (about_zero or low == 0):
        if settings.mode == "symmetric" and chosen_mode:
            raise ConfigError(
                f"The range of the output of '{layer}' in '{_KEY}' is not that of a symmetric quantizer. Expected: min=0, or "
                f'min=-max. Received: {_text(ends)}. Set "mode": "asymmetric" there.'
            )
        return AsymmetricFakeQuantize(bits, name=name, fixed_range=ends, **options)
    signed = low < 0
    if settings.signed is not None and settings.signed is not signed:
        raise ConfigError(
            f"The range of the output of '{layer}' in '{_KEY}' does not go with its sign. Expected: "
            f"{'min=-max' if settings.signed else 'min=0'} with signed={settings.signed}. Received: {_text(ends)}. "
            "Leave 'signed' out there: the range decides."
        )
    symmetric = (-high if signed else 0.0, high)
    return SymmetricFakeQuantize(bits, name=name, signed=signed, max_value=high, fixed_range=symmetric, **options)


def _text(ends: Ends) -> str:
    return f"min={np.format_float_positional(ends[0], trim='0')}, max={np.format_float_positional(ends[1], trim='0')}"
