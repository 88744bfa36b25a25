"""Why a quantizer hurts, by the numbers, and what changes of the configuration may mend it, the cheapest first.

A change is a patch of the configuration of the algorithm: nested dicts, in which None takes a key away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from keras_compress.algorithms.quantization import Quantization
from keras_compress.algorithms.scope import matches
from keras_compress.diagnosis.quantizer_evidence import QuantizerEvidence

__all__ = ["Cause", "Conclusion", "Remedy", "conclusion", "is_coarse"]

Cause = Literal[
    "dead range",
    "narrow calibration",
    "input columns apart",
    "unbalanced concatenation",
    "outlier channel",
    "outlier values",
    "few bits",
    "amplification downstream",
]

#: From what ratio on the widest of several spreads makes the grid too coarse for the others.
APART = 8.0
#: From what ratio of the grid to the values on it is mostly unused.
UNUSED = 4.0
#: Samples from which on more of them change little.
MANY_SAMPLES = 256
#: A remedy is tried if it is expected to leave less than this share of the error of the quantizer.
HELPS = 0.5
#: What is taken off the ratio of signal to error of a full grid, in dB, for tensors whose grid counts as fitting.
MARGIN = 20.0

Patch = dict[str, Any]


@dataclass(frozen=True)
class Remedy:
    """A change of the configuration.

    Attributes:
        patch: of the configuration of the algorithm.
        expected: the error of the quantizer behind it over that of now; 0 where there is no quantizer any more, None where that
            cannot be foreseen.
        everywhere: whether it is a change for all quantizers of a group. Default False.
        recalibrates: whether ranges are measured on the samples of the diagnosis in place of those of the configuration. Default
            False.
    """

    patch: Patch
    expected: float | None
    everywhere: bool = False
    recalibrates: bool = False


@dataclass(frozen=True)
class Conclusion:
    """Why a quantizer hurts.

    Attributes:
        cause: one of a few words.
        reason: the numbers that say so, a sentence.
        remedies: the cheapest first; the last one leaves the layers in floating point.
    """

    cause: Cause
    reason: str
    remedies: tuple[Remedy, ...]


def is_coarse(evidence: QuantizerEvidence) -> bool:
    """Return whether the own error of a quantizer is larger than it is for most tensors on a grid of its bits."""
    return evidence.relative_error > 10 ** ((MARGIN - 6.02 * max(evidence.op.num_bits, 6)) / 10)


def conclusion(evidence: QuantizerEvidence, algorithm: Quantization) -> Conclusion:
    """Return why a quantizer hurts that is known to.

    Args:
        evidence: what is known of it.
        algorithm: the configuration it was made by.
    """
    remedies = [one for one in _remedies(evidence, algorithm) if one.expected is None or one.expected < HELPS]
    return Conclusion(*_cause(evidence, algorithm), (*remedies, _in_floating_point(evidence)))


def _cause(evidence: QuantizerEvidence, algorithm: Quantization) -> tuple[Cause, str]:
    low, high = (float(end) for end in (np.min(evidence.ends()[0]), np.max(evidence.ends()[1])))
    grid, reached = high - low, evidence.reached
    of_range, of_values = f"its range, {low:.4g} to {high:.4g},", f"the values reach over {reached:.4g}"
    coarse, beyond = is_coarse(evidence), evidence.share_beyond > 0.5
    is_fixed, samples = evidence.op.fixed_range is not None, _samples(evidence, algorithm)
    if coarse and (is_fixed or samples == 0) and (beyond or grid > UNUSED * reached):
        return (
            "dead range",
            f"{of_range} is {'fixed by the configuration' if is_fixed else 'not measured'}; {of_values}",
        )
    if coarse and beyond:
        return (
            "narrow calibration",
            f"{evidence.share_beyond:.0%} of its error is at values beyond {of_range} {of_values}",
        )
    by_call, spreads = evidence.spreads_by_call(), evidence.spreads()
    if len(by_call) > 1 and by_call.max() > APART * by_call.min():
        return "unbalanced concatenation", (
            f"it maps {len(by_call)} tensors to one range, of which one reaches over {by_call.max():.4g} and another over "
            f"{by_call.min():.4g}"
        )
    if not evidence.op.per_channel and len(spreads) > 1 and spreads.max() > APART * _usual(evidence, spreads):
        what: Cause = "input columns apart" if evidence.maps_inputs else "outlier channel"
        return (
            what,
            f"channel {int(np.argmax(spreads))} reaches over {spreads.max():.4g}, another over {spreads.min():.4g}",
        )
    if not coarse:
        own = -10 * np.log10(max(evidence.relative_error, 1e-30))
        return "amplification downstream", f"its own error is small ({own:.0f} dB), and what comes behind enlarges it"
    if grid > UNUSED * reached:
        return "narrow calibration", f"its range reaches over {grid:.4g}, {of_values}: it was measured on other data"
    if evidence.op.num_bits < 8:
        return "few bits", f"its grid of {evidence.op.num_bits} bits has a step of {grid / evidence.op.steps:.4g}"
    deviation = max(float(np.std(evidence.all_values)), 1e-30)
    return "outlier values", f"{of_values}, {reached / deviation:.0f} times their standard deviation"


def _usual(evidence: QuantizerEvidence, spreads: np.ndarray) -> float:
    """Return the smallest spread of a column of the inputs, each of which may count; that of half of the channels elsewhere."""
    return float(spreads.min()) if evidence.maps_inputs else float(np.median(spreads))


def _remedies(evidence: QuantizerEvidence, algorithm: Quantization) -> Iterator[Remedy]:
    """Yield changes that keep the layer in integers, the cheapest first."""
    group = "activations" if evidence.weight is None else "weights"
    values = evidence.all_values
    now = max(_error(values, *_single(evidence)), 1e-30) if not evidence.op.per_channel else None
    overrides = getattr(algorithm.scope_overrides, group)

    def override(**settings: Any) -> Patch:
        return {"scope_overrides": {group: {evidence.layer: settings}}}

    if evidence.op.fixed_range is not None:
        scopes = [scope for scope, found in overrides.items() if _names(scope, evidence) and found.ends is not None]
        patch = {scope: {"min": None, "max": None} for scope in scopes}
        yield Remedy(
            {"scope_overrides": {group: patch}}, _ratio(now, values, float(values.min()), float(values.max()), evidence)
        )
        return
    if evidence.weight is None and evidence.share_beyond > 0.5:
        expected = _ratio(now, values, float(values.min()), float(values.max()), evidence)
        measured = {"type": "min_max", "num_init_samples": max(_samples(evidence, algorithm), MANY_SAMPLES)}
        yield Remedy(override(initializer={"range": measured}), expected)
        yield Remedy({"initializer": {"range": [measured]}}, expected, everywhere=True)
        yield Remedy({}, expected, recalibrates=True)
    if not evidence.op.per_channel and evidence.maps_inputs:
        yield Remedy(override(per_channel=True), None)  # a column may count for much though its values are small
    if not evidence.op.per_channel and evidence.weight is not None:
        expected = _per_channel(evidence) / max(evidence.relative_error, 1e-30)
        yield Remedy(override(per_channel=True), expected)
        yield Remedy({"weights": {"per_channel": True}}, expected, everywhere=True)
    if evidence.op.num_bits < 8:
        yield Remedy(override(bits=8), 4.0 ** (evidence.op.num_bits - 8))
    if now is None:
        return
    low, high, _ = _single(evidence)
    if evidence.weight is None and low < 0 and abs(low + high) < 0.02 * (high - low):
        yield Remedy(
            override(mode="asymmetric"), _ratio(now, values, float(values.min()), float(values.max()), evidence)
        )
    low, high = np.percentile(values, [0.01, 99.99])
    params = {"min_percentile": 0.01, "max_percentile": 99.99}
    range_ = {"type": "percentile", "params": params, "num_init_samples": MANY_SAMPLES}
    yield Remedy(override(initializer={"range": range_}), _ratio(now, values, float(low), float(high), evidence))
    best = min(_ratio(now, values, values.min() * part, values.max() * part, evidence) for part in 0.9 ** np.arange(30))
    range_ = {"type": "mse", "num_init_samples": MANY_SAMPLES}
    yield Remedy(override(initializer={"range": range_}), best)


def _in_floating_point(evidence: QuantizerEvidence) -> Remedy:
    return Remedy({"ignored_scopes": list(evidence.readers or (evidence.layer,))}, 0.0)


def _names(scope: str, evidence: QuantizerEvidence) -> bool:
    return any(matches(scope, path) for path in (evidence.sources or (evidence.layer,)))


def _samples(evidence: QuantizerEvidence, algorithm: Quantization) -> int:
    """Return how many samples the range of an activation was measured on, a large number for a weight."""
    if evidence.weight is not None:
        return MANY_SAMPLES
    return algorithm.output_initializer(evidence.layer).num_init_samples


def _single(evidence: QuantizerEvidence) -> tuple[float, float, int]:
    low, high = evidence.ends()
    return float(np.min(low)), float(np.max(high)), evidence.op.steps


def _ratio(now: float | None, values: np.ndarray, low: float, high: float, evidence: QuantizerEvidence) -> float:
    """Return the error on the grid of another range over the error of now."""
    return _error(values, min(low, 0.0), max(high, 0.0), evidence.op.steps) / (now or 1e-30)


def _per_channel(evidence: QuantizerEvidence) -> float:
    """Return about what relative error is left with a range for each channel: at each value a twelfth of the square of its step."""
    error = (evidence.spreads() * 2 / evidence.op.steps) ** 2 / 12 * evidence.count / max(evidence.signal.size, 1)
    signal = evidence.signal
    return float(np.mean(np.divide(error, signal, out=np.zeros_like(error), where=signal > 0)))


def _error(values: np.ndarray, low: float, high: float, steps: int) -> float:
    """Return the mean power of the error on a grid from ``low`` to ``high``."""
    step = max(high - low, 1e-30) / steps
    return float(np.mean((np.clip(np.round((values - low) / step), 0, steps) * step + low - values) ** 2))
