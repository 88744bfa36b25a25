"""Compare what a file computes with what the model computes, on the same samples, and judge the difference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.batch_rows import filled_up, rows_of_samples
from keras_compress.calibration.model_states import fresh_states
from keras_compress.data import fixed_batch, input_specs, pack_inputs
from keras_compress.export.audit_samples import AuditSamples
from keras_compress.export.runtimes.run import Run, RunError
from keras_compress.numerics import decibels
from keras_compress.reports import Comparison

__all__ = ["Limits", "compare_arrays", "compare_outputs", "judged", "signal_to_error"]

BATCH = 32
#: The greatest chance of calling a right file wrong because of the samples that were drawn.
CHANCE = 0.01
#: How many times greater than all other values a constant is that fills what a mask rules out.
FAR = 1000.0
#: Scores of classes that are nearer to each other than this are a tie.
TIE = 0.02


@dataclass(frozen=True)
class Limits:
    """From what departure of its results on a file is wrong.

    Attributes:
        min_sqnr: least ratio of signal to error of an output, in dB. Default 20.
        min_agreement: least share of samples with the same top-1, or with equal integers. Default 0.97.
        min_sqnr_drawn: ``min_sqnr`` on samples that were drawn. Default 10.
    """

    min_sqnr: float = 20.0
    min_agreement: float = 0.97
    min_sqnr_drawn: float = 10.0

    def least_sqnr(self, source: str) -> float:
        """Return the least ratio of signal to error on samples of a source, in dB."""
        return self.min_sqnr_drawn if source == "drawn" else self.min_sqnr


def compare_outputs(model: keras.Model, run: Run, samples: AuditSamples) -> Comparison:
    """Run a file and the model it was made from on the same samples, in batches of more than one where the file takes them.

    Args:
        model: what the file should compute.
        run: the file, ready to run.
        samples: on which they are compared.

    Raises:
        RunError: the file returns other outputs than the model, by their number or their sizes.
    """
    expected: list[list[np.ndarray]] = []
    received: list[list[np.ndarray]] = []
    for part, kept in _batches(model, samples.inputs):
        outputs, found = _outputs(model, part), run(part)
        if [output.size for output in outputs] != [output.size for output in found]:
            shapes = [[output.shape for output in side] for side in (outputs, found)]
            raise RunError(
                f"its outputs are not the model's. Expected: arrays of the shapes {shapes[0]}. Received: {shapes[1]}."
            )
        for side, arrays in ((expected, outputs), (received, found)):
            side.append([rows_of_samples(np.asarray(array), len(part[0]), kept) for array in arrays])
    comparison = compare_arrays(
        *([np.concatenate(o) for o in zip(*side, strict=True)] for side in (expected, received))
    )
    return replace(comparison, source=samples.source)


def judged(model: keras.Model, samples: AuditSamples, comparison: Comparison, limits: Limits) -> Comparison:
    """Return a comparison with what is wrong with its results, or with the reason why a departure is none of the file's.

    Args:
        model: the compressed model.
        samples: those of the comparison.
        comparison: of a file.
        limits: from what on results are wrong.
    """
    problem = _problem(comparison, limits)
    if not problem:
        return comparison
    own = _own_departure(model, samples)
    if _problem(replace(own, source=comparison.source), limits):
        note = f"the model amplifies rounding: by itself, on inputs changed by 1e-6, it departs by {own.sqnr:.1f} dB"
        return replace(comparison, note=note)
    return replace(comparison, problem=problem)


def _problem(comparison: Comparison, limits: Limits) -> str:
    least = limits.least_sqnr(comparison.source)
    if math.isnan(comparison.sqnr):
        return "its outputs depart from the model's: there are values that are not finite on one side only"
    if comparison.sqnr < least:
        return f"its outputs depart from the model's: {comparison.sqnr:.1f} dB signal to error, at least {least:g} expected"
    if comparison.source == "drawn" or comparison.decided == 0:
        return ""
    if _is_shown(comparison.flips, comparison.decided, 1 - limits.min_agreement):
        share = 1 - comparison.flips / comparison.decided
        return f"its decisions depart from the model's: {share:.1%} agree, at least {limits.min_agreement:.0%} expected"
    return ""


def _is_shown(flips: int, decided: int, allowed: float) -> bool:
    """Return whether more than a share ``allowed`` of flips is shown with 99 % confidence, by the binomial distribution."""
    if flips <= allowed * decided:
        return False
    below = sum(
        math.exp(
            math.lgamma(decided + 1)
            - math.lgamma(count + 1)
            - math.lgamma(decided - count + 1)
            + count * math.log(allowed)
            + (decided - count) * math.log1p(-allowed)
        )
        for count in range(flips)
    )
    return 1 - below < CHANCE


def _own_departure(model: keras.Model, samples: AuditSamples) -> Comparison:
    """Compare the model with itself on inputs changed by a millionth of their magnitude."""
    random = np.random.default_rng(0)

    def changed(array: np.ndarray) -> np.ndarray:
        if array.dtype.kind != "f":
            return array
        return (array * (1 + 1e-6 * random.choice([-1, 1], array.shape))).astype(array.dtype)

    pairs = [
        [
            [rows_of_samples(output, len(part[0]), kept) for output in _outputs(model, inputs)]
            for inputs in (part, list(map(changed, part)))
        ]
        for part, kept in _batches(model, samples.inputs)
    ]
    return compare_arrays(*([np.concatenate(o) for o in zip(*side, strict=True)] for side in zip(*pairs, strict=True)))


def _batches(model: keras.Model, arrays: Sequence[np.ndarray]) -> Iterator[tuple[list[np.ndarray], int]]:
    """Yield batches of the model's fixed size, the last one filled up, or of 32, and how many of their samples count."""
    fixed = fixed_batch(input_specs(model))
    samples = len(arrays[0])
    for start in range(0, samples, fixed or BATCH):
        kept = min(fixed or BATCH, samples - start)
        yield [filled_up(array[start:], fixed or kept) for array in arrays], kept


def _outputs(model: keras.Model, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    with fresh_states(model):  # a file begins without memory
        outputs = model(pack_inputs(model, arrays), training=False)
    return [np.asarray(output) for output in tf.nest.flatten(outputs)]


def compare_arrays(expected: Sequence[np.ndarray], received: Sequence[np.ndarray]) -> Comparison:
    """Compare outputs as arrays, those that count as the truth first; of several the worst counts."""
    errors, steps, ratios, same = [0.0], [0.0], [np.inf], []
    flips = decided = 0
    for one, other in zip(expected, received, strict=True):
        one, other = np.asarray(one), np.asarray(other).reshape(one.shape)
        if one.size == 0:
            continue
        if one.dtype.kind not in "fcV":  # integers, truth values, text
            agree = one == other
            same.append(float(agree.mean()))
            flips, decided = _worse((flips, decided), (int((~agree).sum()), agree.size))
            continue
        one, other = _without_fills(one.astype(np.float64), other.astype(np.float64))
        if not (np.isfinite(one).all() and np.isfinite(other).all()):
            ratios.append(math.nan)
            continue
        difference = np.abs(one - other)
        errors.append(difference.max() / max(np.abs(one).max(), 1e-30))
        steps.append(difference.max() / max(np.ptp(one) / 255, 1e-30))
        ratios.append(signal_to_error(one, other))
        if one.ndim > 1 and one.shape[-1] > 1:
            same.append(float(np.mean(one.argmax(-1) == other.argmax(-1))))
        if _are_scores(one):
            flips, decided = _worse((flips, decided), _flips(one, other))
    return Comparison(
        len(expected[0]),
        float(max(errors)),
        float(max(steps)),
        float(min(ratios)) if not any(map(math.isnan, ratios)) else math.nan,
        min(same) if same else None,
        flips=flips,
        decided=decided,
    )


def signal_to_error(expected: np.ndarray, received: np.ndarray) -> float:
    """Return the power of an array over the power of the difference to another of its shape, in dB; NaN if values are not finite."""
    one, other = expected.astype(np.float64), received.astype(np.float64)
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return math.nan
    with np.errstate(over="ignore"):  # beside a signal of nothing but zeros
        return decibels(float(np.mean((one - other) ** 2) / max(np.mean(one**2), np.finfo(np.float64).tiny)))


def _without_fills(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays with zeros where both hold the same fill: a value that is not finite, or a constant far from all others.

    Scores that a mask rules out are -inf or -1e9. As signal they would hide every error of the others.
    """
    equal = ~np.isfinite(one) & ((one == other) | (np.isnan(one) & np.isnan(other)))
    for end in (one.min(initial=0), one.max(initial=0)):
        filled = one == end
        rest = np.abs(one[~filled & np.isfinite(one)])
        if np.isfinite(end) and filled.sum() > 1 and rest.size and abs(end) > FAR * rest.max() > 0:
            equal |= filled & np.isclose(other, end, rtol=0.01)
    return (np.where(equal, 0.0, one), np.where(equal, 0.0, other)) if equal.any() else (one, other)


def _worse(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    key: Callable[[tuple[int, int]], float] = lambda pair: pair[0] / pair[1] if pair[1] else -1.0  # noqa: E731
    return max(one, other, key=key)


def _are_scores(values: np.ndarray) -> bool:
    """Whether the last axis holds the shares of classes."""
    return (
        values.ndim > 1
        and values.shape[-1] > 1
        and bool(values.min() >= -1e-6)
        and bool(np.allclose(values.sum(-1), 1, atol=1e-3))
    )


def _flips(expected: np.ndarray, received: np.ndarray) -> tuple[int, int]:
    """Return how many top-1 decisions differ, and how many there are, ties left out."""
    scores, others = expected.reshape(-1, expected.shape[-1]), received.reshape(-1, expected.shape[-1])
    two = np.sort(scores, axis=-1)[:, -2:]
    clear = two[:, 1] - two[:, 0] > TIE
    return int((scores.argmax(-1) != others.argmax(-1))[clear].sum()), int(clear.sum())
