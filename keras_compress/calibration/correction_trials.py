"""CorrectionTrials: a correction stays only where the outputs of the compressed model come nearer to those in floating point.

They are compared on samples that took no part in the correction. What was tried, and what it did, is kept for the report.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.calibration.held_out import HeldOutSamples
from keras_compress.calibration.model_function import ModelFunction
from keras_compress.calibration.model_states import fresh_states
from keras_compress.layers.float_computation import computing_in_float
from keras_compress.numerics import decibels, relative_error

__all__ = ["Correction", "CorrectionTrial", "CorrectionTrials"]

#: What a correction has to gain to be kept: less is chance.
GAIN = 0.1
#: How often outputs are measured, about.
TRIALS = 4
#: What a correction that was asked for may lose without a warning.
LOSS = 1.0


@dataclass(frozen=True)
class Correction:
    """A change of numbers that may bring a compressed model nearer to its float model.

    Attributes:
        name: what is done, for the report.
        variables: what it changes.
        correct: makes the change.
        asked_for: whether the user asked for it: then it stays in any case, with a warning where it harms. Default False.
        below: signal over error of the outputs, in dB, from which on it is not worth to be tried. Default: none.
    """

    name: str
    variables: Sequence[tf.Variable]
    correct: Callable[[], None]
    asked_for: bool = False
    below: float = math.inf


@dataclass(frozen=True)
class CorrectionTrial:
    """What a correction did to the outputs of a compressed model.

    Attributes:
        name: what was done, as ``"biases corrected on 300 samples"``.
        before: signal over error of the outputs on held-out samples, beside the model in floating point, in dB.
        after: the same behind the correction.
        kept: whether the correction was kept.

    Example:
        >>> print(CorrectionTrial("batch normalization adapted on 100 samples", 42.4, 7.6, kept=False))
        batch normalization adapted on 100 samples: 42.4 → 7.6 dB, not kept
    """

    name: str
    before: float
    after: float
    kept: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.before:.1f} → {self.after:.1f} dB, {'' if self.kept else 'not '}kept"


class CorrectionTrials:
    """Tries corrections on a compressed model one after another.

    Args:
        model: the compressed model; its ranges are measured.
        held_out: the samples to judge on.
    """

    def __init__(self, model: keras.Model, held_out: HeldOutSamples):
        self.held_out = held_out
        self.done: list[CorrectionTrial] = []
        self._model = model
        batches = len(held_out.batches)
        with computing_in_float():
            self._expected = list(self._outputs(self._function(runs=batches)))
        self._compressed = self._function(runs=batches * TRIALS)
        self.signal_to_error = self._measured()

    def attempt(self, correction: Correction) -> None:
        """Make a correction, and undo it unless it was asked for or the outputs have come nearer to those in floating point."""
        if not correction.asked_for and self.signal_to_error >= correction.below:
            return
        values = [variable.numpy() for variable in correction.variables]
        before = self.signal_to_error
        correction.correct()
        after = self._measured()
        helps = after > before + GAIN or (math.isnan(before) and not math.isnan(after))
        trial = CorrectionTrial(correction.name, before, after, helps or correction.asked_for)
        self.done.append(trial)
        if trial.kept:
            self.signal_to_error = after
        else:
            for variable, value in zip(correction.variables, values, strict=True):
                variable.assign(value)
        if correction.asked_for and after < before - LOSS:
            warnings.warn(
                f"A correction that was asked for takes the outputs of the compressed model away from those in floating point: "
                f"{trial}. Leave it out, unless a training follows that is known to need it.",
                stacklevel=4,
            )

    def _function(self, runs: int) -> ModelFunction:
        def outputs(inputs: Any) -> list[tf.Tensor]:
            flat = tf.nest.flatten(self._model(inputs, training=False), expand_composites=True)
            return [output for output in flat if output.dtype != tf.string]

        return ModelFunction(self._model, outputs, runs=runs)

    def _outputs(self, function: ModelFunction) -> Iterator[list[np.ndarray]]:
        with fresh_states(self._model):
            for batch, start in self.held_out.batches:
                rows = function.rows(batch)
                yield [_of_samples(output, start, batch.samples, len(rows[0])) for output in function(rows)]

    def _measured(self) -> float:
        """Return the signal over the error of the outputs in dB, the mean of the errors of several outputs."""
        return decibels(relative_error(zip(self._expected, self._outputs(self._compressed), strict=True)))


def _of_samples(output: tf.Tensor, start: int, stop: int, size: int) -> np.ndarray:
    """Return the rows of an output that belong to some rows of a batch, all of it where its first axis has nothing to do with them."""
    values = np.asarray(output.numpy(), np.complex128 if output.dtype.is_complex else np.float64)
    if values.ndim == 0 or len(values) % size:
        return values
    return values[len(values) // size * start : len(values) // size * stop]
