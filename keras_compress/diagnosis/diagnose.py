"""diagnose: which layers quantization hurts, why, and which change of the configuration mends it, measured again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from keras_compress._keras import input_names, keras
from keras_compress._threads import ignored_warnings
from keras_compress.algorithms.quantization import Quantization
from keras_compress.arguments import flag, whole_number
from keras_compress.calibration.held_out import hold_out
from keras_compress.calibration.model_states import fresh_states
from keras_compress.calibration.untrained_statistics import measure_untrained_statistics
from keras_compress.config import CompressionConfig, ConfigLike
from keras_compress.controller import CompressionController
from keras_compress.create import create_compressed_model
from keras_compress.data import Dataset, input_specs, pack_inputs
from keras_compress.diagnosis.causes import Conclusion, Remedy, conclusion, is_coarse
from keras_compress.diagnosis.config_patch import patched
from keras_compress.diagnosis.diagnosis_report import Diagnosis, Finding
from keras_compress.diagnosis.quantizer_evidence import QuantizerEvidence, gather
from keras_compress.errors import ConfigError
from keras_compress.graph import build, take
from keras_compress.graph.model_check import require_compressible
from keras_compress.initialization import NEW_STATISTICS_SAMPLES
from keras_compress.layers import observed
from keras_compress.numerics import decibels, relative_error

__all__ = ["diagnose"]

#: A quantizer stands out if without it so large a share of the error of the outputs is gone.
STANDS_OUT = 0.1
#: And if its own error is large, or so many times as large at the outputs; both relative to the signal.
ENLARGED = 10.0
#: From this error on, relative to the outputs, quantizers may hide each other: 20 dB.
FAR_OFF = 0.01
#: What a change has to gain to be proposed, in dB.
GAIN = 0.5
#: From how many quantizers with the same remedy on the change is made for all.
SEVERAL = 3

#: Corrections hide the damage of a quantizer, and do damage themselves where it is switched off.
UNCORRECTED = {"initializer": {"bias_correction": False, "batchnorm_adaptation": {"num_bn_adaptation_samples": 0}}}

Batches = Sequence[Sequence[np.ndarray]]
#: What was compressed, and what came of it.
Made = tuple[CompressionController, keras.Model]
#: The layer that a quantizer belongs to, and the path of its weight.
Key = tuple[tuple[str, ...], str | None]


def diagnose(
    model: keras.Model,
    data: Any,
    *,
    config: ConfigLike | None = None,
    samples: int = 64,
    most: int = 5,
    measure: bool = True,
) -> Diagnosis:
    """Return which layers of a model quantization hurts, why, and the change of the configuration that mends each.

    The model is compressed by the configuration, without corrections of biases and of batch normalization, so that the damage
    is that of quantization alone. The outputs are compared with those in floating point with each quantizer
    switched off; for one that stands out the cause is read from what it maps, and changes of its settings are tried, the
    cheapest first, until the outputs come nearer. Then the next one is looked for.

    Args:
        model: a model that is not compressed; it is only read.
        data: samples, as for ``kc.Dataset``. The ranges are measured on the samples that the configuration has for that,
            by default on these.
        config: what is diagnosed, as for :func:`~keras_compress.create_compressed_model`. Default: ``kc.Quantization()``.
        samples: how many, behind those for ranges if there are as many, the errors are measured on. Default 64.
        most: how many findings there may be. Default 5.
        measure: whether quantizers are switched off and changes are tried. False takes about as long as a calibration: it names
            the quantizers whose own errors are large, and the change that is expected to mend them. Default True.

    Raises:
        ConfigError: the configuration has no quantization.
        UnsupportedModelError: the model cannot be compressed, or is already.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, name="wide"), keras.layers.Dense(2)])
        >>> images = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
        >>> found = diagnose(model, images, config=Quantization(scope_overrides={"weights": {"wide": {"bits": 2}}}))
        >>> found.findings[0].layer, found.findings[0].cause
        ('wide', 'few bits')
    """
    require_compressible(model)
    samples, most = whole_number("samples", samples, 1), whole_number("most", most, 1)
    measure = flag("measure", measure)
    chosen = CompressionConfig.of(Quantization() if config is None else config)
    if not any(isinstance(algorithm, Quantization) for algorithm in chosen.compression):
        names = [algorithm.name for algorithm in chosen.compression]
        raise ConfigError(
            f"There is nothing to diagnose. Expected: a configuration with quantization, as kc.Quantization(). Received: {names}."
        )
    dataset = Dataset.of(data)
    if chosen.init_data is None:
        chosen = chosen.with_init_data(dataset)
    return _Search(model, dataset, samples, most, measure).run(chosen)


class _Search:
    """Looks for quantizers that hurt, one after another.

    Args:
        model, data, samples, most, measure: as for :func:`diagnose`.
    """

    def __init__(self, model: keras.Model, data: Dataset, samples: int, most: int, measure: bool):
        self._model, self._data, self._most, self._measure = _with_statistics(model, data), data, most, measure
        held_out = hold_out(data, input_specs(model), 300)
        rows = [[array[start : batch.samples] for array in batch.inputs] for batch, start in held_out.batches]
        if any(size is not None for size in (tensor.shape[0] for tensor in model.inputs)):
            rows = [list(batch.inputs) for batch, _ in held_out.batches]
        rows.sort(key=lambda batch: -len(batch[0]))  # quantizers are switched off on the first one
        self._batches: Batches = rows[: max(-(-samples // max(len(rows[0][0]), 1)), 1)]
        self._expected = [_outputs(self._model, batch) for batch in self._batches]
        self._samples = sum(len(batch[0]) for batch in self._batches)

    def run(self, config: CompressionConfig) -> Diagnosis:
        """Return the findings on a configuration."""
        made = self._compressed(config)
        first = error = self._error(made[1])
        findings: list[Finding] = []
        seen: set[Key] = set()
        with tqdm(total=self._most, desc="diagnosis", unit="finding", leave=False, disable=None) as bar:
            for _ in range(2 * self._most):  # some cannot be mended
                evidence = gather(_bound(made[0]), made[1], input_names(made[1]), self._batches)
                suspect = self._worst(made, [one for one in evidence if _key(one) not in seen], error)
                if suspect is None:
                    break
                seen.add(_key(suspect.evidence))
                algorithm = next(one for one in config.compression if isinstance(one, Quantization))
                why = conclusion(suspect.evidence, algorithm)
                alike = [one for one in evidence if is_coarse(one) and _is_alike(one, suspect.evidence, why, algorithm)]
                cure = self._mended(config, suspect, why, len(alike))
                if cure is None:
                    continue
                findings.append(_finding(suspect, why, cure))
                config = cure.config
                bar.update()
                if cure.made is not None:
                    made, error = cure.made, self._error(cure.made[1])
                if cure.remedy.everywhere:
                    seen.update(map(_key, alike))
                if len(findings) == self._most:
                    break
        mended = decibels(error) if self._measure else None
        return Diagnosis(tuple(findings), decibels(first), mended, self._samples, config)

    def _changed(self, config: CompressionConfig, remedy: Remedy) -> CompressionConfig:
        changed = patched(config, Quantization.name, remedy.patch)
        return changed.with_init_data(self._data) if remedy.recalibrates else changed

    def _compressed(self, config: CompressionConfig) -> Made:
        with ignored_warnings():  # what calibration warns of, the diagnosis says
            return create_compressed_model(self._model, patched(config, Quantization.name, UNCORRECTED))

    def _error(self, model: keras.Model, batches: int | None = None) -> float:
        """Return the power of the error of the outputs over that of the outputs, the mean over several outputs."""
        pairs = list(zip(self._batches, self._expected, strict=True))[:batches]
        return relative_error((expected, _outputs(model, batch)) for batch, expected in pairs)

    def _error_alone(self, made: Made, key: Key, batches: int | None = None) -> float:
        """Return the error with one quantizer alone, all others switched off."""
        others = [bound.op for bound in _bound(made[0]) if (bound.sources[:1] or (bound.layer,), bound.weight) != key]
        with observed({}, others):
            return self._error(made[1], batches)

    def _worst(self, made: Made, evidence: Sequence[QuantizerEvidence], error: float) -> _Suspect | None:
        """Return the quantizer that hurts most, None if none stands out.

        It is the one without which most of the error is gone. Where two hide each other, so that the outputs are as wrong without
        one of them, it is the one that does most harm alone.
        """
        if not self._measure:
            coarse = [one for one in evidence if is_coarse(one)]
            worst = max(coarse, key=lambda one: one.relative_error, default=None)
            return None if worst is None else _Suspect(worst, None, error)
        if not evidence or not error:
            return None
        now = self._error(made[1], batches=1)
        gone = []
        for one in tqdm(evidence, desc="quantizers switched off", unit="quantizer", leave=False, disable=None):
            with observed({}, [one.op]):
                gone.append(1 - self._error(made[1], batches=1) / max(now, 1e-30))
        hurt = [
            (share, one)
            for share, one in zip(gone, evidence, strict=True)
            if share >= STANDS_OUT and (is_coarse(one) or share * now >= ENLARGED * one.relative_error)
        ]
        if hurt:
            share, one = max(hurt, key=lambda pair: pair[0])
            return _Suspect(one, share, error)
        if error < FAR_OFF:
            return None
        alone = [self._error_alone(made, _key(one), batches=1) for one in evidence]
        loudest = evidence[int(np.argmax(alone))]
        if max(alone) < STANDS_OUT * now:
            return None
        return _Suspect(loudest, None, self._error_alone(made, _key(loudest)), alone=True)

    def _mended(self, config: CompressionConfig, suspect: _Suspect, why: Conclusion, alike: int) -> _Cure | None:
        """Return the first remedy that brings the outputs nearer; None if none does.

        A remedy for all quantizers comes first where several have the same trouble.
        """
        remedies = list(why.remedies)
        if alike >= SEVERAL:
            remedies.sort(key=lambda remedy: not remedy.everywhere)
        else:
            remedies = [remedy for remedy in remedies if not remedy.everywhere]
        if not self._measure:
            return _Cure(remedies[0], self._changed(config, remedies[0]))
        best: _Cure | None = None
        for remedy in remedies:
            changed = self._changed(config, remedy)
            try:
                made = self._compressed(changed)
            except ConfigError:  # another setting needs what this one takes away
                continue
            after = self._error_alone(made, _key(suspect.evidence)) if suspect.alone else self._error(made[1])
            least = decibels(suspect.error) + GAIN if best is None else decibels(best.after or 0.0) + 2 * GAIN
            if decibels(after) >= least:
                best = _Cure(remedy, changed, after, made)
            if after <= 0.25 * suspect.error:
                break
        return best


@dataclass(frozen=True)
class _Suspect:
    """A quantizer that hurts.

    Attributes:
        evidence: what is known of it.
        share: of the error that is gone without it; None if it was not measured.
        error: of the outputs; with this quantizer alone, if it was found so.
        alone: whether it was found by what it does alone.
    """

    evidence: QuantizerEvidence
    share: float | None
    error: float
    alone: bool = False


@dataclass(frozen=True)
class _Cure:
    """A remedy, the configuration with it, and the error and the model that came of it, if it was tried."""

    remedy: Remedy
    config: CompressionConfig
    after: float | None = None
    made: Made | None = None


def _with_statistics(model: keras.Model, data: Dataset) -> keras.Model:
    """Return a copy whose batch normalization has statistics, where it was never trained; they are what compression begins with."""
    copied = build(take(model))
    measure_untrained_statistics(copied, data, NEW_STATISTICS_SAMPLES)
    return copied


def _is_alike(one: QuantizerEvidence, hurts: QuantizerEvidence, why: Conclusion, algorithm: Quantization) -> bool:
    same_kind = (one.weight is None) == (hurts.weight is None)
    return same_kind and conclusion(one, algorithm).cause == why.cause


def _finding(suspect: _Suspect, why: Conclusion, cure: _Cure) -> Finding:
    evidence, remedy = suspect.evidence, cure.remedy
    what = "activations" if evidence.weight is None else "weights"
    now, then = decibels(suspect.error), None if cure.after is None else decibels(cure.after)
    return Finding(
        *(evidence.layer, what, why.cause, why.reason, suspect.share, remedy.patch, remedy.recalibrates, now, then),
        alone=suspect.alone,
    )


def _key(evidence: QuantizerEvidence) -> Key:
    return (evidence.layer,), evidence.weight


def _bound(controller: CompressionController) -> list[Any]:
    return [bound for algorithm, ops in controller.parts if isinstance(algorithm, Quantization) for bound in ops]


def _outputs(model: keras.Model, batch: Sequence[np.ndarray]) -> list[np.ndarray]:
    with fresh_states(model):
        outputs = model(pack_inputs(model, [tf.constant(array) for array in batch]), training=False)
    flat = tf.nest.flatten(outputs, expand_composites=True)
    return [np.asarray(output, np.float64) for output in flat if output.dtype.is_floating]
