"""AccuracySearch: as few layers as possible return to floating point until the accuracy is as good as was asked for.

Layers are ranked by the error that their quantization alone causes at the outputs, which takes no evaluation. How many
of the worst have to return is found by doubling and halving, and then layers that returned needlessly are quantized
again.
"""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Callable, Sequence

from tqdm import tqdm

from keras_compress._keras import keras
from keras_compress.errors import AccuracyTargetNotMet
from keras_compress.post_training.accuracy_report import AccuracyReport, ControlledLayer, Evaluation
from keras_compress.post_training.calibrated_model import CalibratedModel
from keras_compress.post_training.evaluation_record import EvaluationRecord
from keras_compress.post_training.quantized_layers import QuantizedLayer, SwitchableModel, quantized_layers
from keras_compress.post_training.sensitivity import output_errors

__all__ = ["AccuracySearch", "Budget", "DropType", "Target"]


class DropType(str, enum.Enum):
    """How a drop is counted: as the difference of metrics, or as its share of the metric of the original model."""

    ABSOLUTE = "absolute"
    RELATIVE = "relative"


class Target:
    """What accuracy is asked for.

    Args:
        max_drop: the greatest drop allowed, in units of the metric or as a share of it.
        drop_type: which of the two.
        higher_is_better: whether a higher metric is a better one.
    """

    def __init__(self, max_drop: float, drop_type: DropType, higher_is_better: bool):
        self.max_drop = max_drop
        self._relative = drop_type is DropType.RELATIVE
        self._sign = 1 if higher_is_better else -1

    def drop(self, original: float, metric: float) -> float:
        """Return by how much ``metric`` is worse than ``original``."""
        difference = self._sign * (original - metric)
        if not self._relative or difference == 0:
            return difference
        return difference / abs(original) if original else math.copysign(math.inf, difference)

    def is_met(self, drop: float) -> bool:
        return drop <= self.max_drop


class Budget:
    """How much may be spent on validation; None is without limit."""

    def __init__(self, evaluations: int | None, seconds: float | None):
        self._evaluations = evaluations
        self._seconds = seconds
        self._start = time.perf_counter()

    def allows(self, used: int) -> bool:
        """Whether another evaluation may begin after ``used`` of them."""
        in_time = self._seconds is None or time.perf_counter() - self._start < self._seconds
        return in_time and (self._evaluations is None or used < self._evaluations)


RANKING_SAMPLES = 64


class _BudgetError(Exception):
    """Raised inside the search when no further evaluation is allowed."""


class AccuracySearch:
    """Searches for the fewest layers in floating point that meet a target.

    Args:
        quantized: the model with all layers quantized.
        validate: returns the metric of a model.
        target: what is asked for.
        budget: of evaluations and time.
        record: where every evaluation is written down, and what an interrupted search goes on from; None for nowhere.
    """

    def __init__(
        self,
        quantized: CalibratedModel,
        validate: Callable[[keras.Model], float],
        target: Target,
        budget: Budget,
        record: EvaluationRecord | None,
    ):
        self._quantized = quantized
        self._validate = validate
        self._target = target
        self._budget = budget
        self._record = record
        self._layers = quantized_layers(quantized.model)
        self._costs: dict[str, float] = {}
        self._evaluations: dict[tuple[str, ...] | None, Evaluation] = {}

    def run(self) -> tuple[keras.Model, AccuracyReport]:
        """Return the best model, and what was found.

        Raises:
            AccuracyTargetNotMet: no model meets the target, or none was found within the budget.
        """
        with tqdm(desc="accuracy control", unit="evaluation", leave=False, disable=None) as self._bar:
            try:
                reason = self._reason(self._search())
            except _BudgetError:
                reason = "the budget of evaluations or seconds is used up."
        best = self._best()
        report = self._report(best, reason)
        model = self._quantized.without(report.float_layers)
        if not report.met:
            received = (
                f"{report.drop:g} with {len(report.float_layers)} of {len(report.layers)} layers in floating point"
            )
            if best is None:
                received = "no evaluation of a quantized model"
            raise AccuracyTargetNotMet(
                f"The accuracy that was asked for is not reached: {reason} Expected: a drop of at most {report.max_drop:g}. "
                f"Received: {received}, the best found. It is the attribute 'model' of this error, the table is 'report'; or "
                "pass on_failure='return_best'.",
                model,
                report,
            )
        return model, report

    def _search(self) -> tuple[str, ...] | None:
        """Return the layers that have to be in floating point, None if all would have to be."""
        self._evaluate(None)
        if self._meets(()):
            return ()
        ranked = self._ranked()
        failing, enough = 0, min(1, len(ranked))
        # With all layers in floating point it is the original, which needs no evaluation.
        while enough < len(ranked) and not self._meets(ranked[:enough]):
            failing, enough = enough, min(2 * enough, len(ranked))
        while enough - failing > 1:
            middle = (failing + enough) // 2
            failing, enough = (failing, middle) if self._meets(ranked[:middle]) else (middle, enough)
        found = self._without_needless(list(ranked[:enough])) if enough else ()
        return found if len(found) < len(ranked) else None

    def _without_needless(self, layers: list[str]) -> tuple[str, ...]:
        """Quantize again, in ever smaller groups of the least costly, layers that returned to floating point without need.

        The last of them is needed: without it the target was missed. By the ranking the others are needed more, so the
        search ends with the first single layer that is.
        """
        *doubtful, needed = layers
        size = (len(doubtful) + 1) // 2
        while doubtful and size:
            kept = doubtful[:-size]
            if self._meets((*kept, needed)):
                doubtful, size = kept, min(size, (len(kept) + 1) // 2)
            else:
                size //= 2
        return (*doubtful, needed)

    def _ranked(self) -> list[str]:
        """Return the paths of all layers, the one whose quantization costs most first."""
        if self._layers and not self._costs:
            self._costs = dict(zip((layer.path for layer in self._layers), self._measured_costs(), strict=True))
        return sorted(self._costs, key=lambda path: -self._costs[path])

    def _measured_costs(self) -> list[float]:
        uncorrected = self._quantized.uncorrected()
        layers: list[QuantizedLayer] = quantized_layers(uncorrected)
        samples = min(RANKING_SAMPLES, self._quantized.samples)
        data = self._quantized.data
        return output_errors(
            SwitchableModel(uncorrected, layers), [[layer] for layer in layers], data, samples, "ranking"
        )

    def _meets(self, layers: Sequence[str]) -> bool:
        return self._target.is_met(self._evaluate(tuple(layers)).drop)

    def _evaluate(self, layers: tuple[str, ...] | None) -> Evaluation:
        """Return the metric with ``layers`` in floating point, of the original model for None."""
        key = None if layers is None else tuple(sorted(layers))
        if key in self._evaluations:
            return self._evaluations[key]
        known = None if self._record is None else self._record.metric(key)
        start = time.perf_counter()
        if known is not None:
            metric, seconds = known, 0.0
        else:
            if not self._budget.allows(len(self._evaluations)):
                raise _BudgetError
            metric = self._validate(self._quantized.original if key is None else self._quantized.without(key))
            seconds = time.perf_counter() - start
        original = metric if key is None else self._evaluations[None].metric
        evaluation = Evaluation(key, metric, self._target.drop(original, metric), seconds)
        self._evaluations[key] = evaluation
        if self._record is not None and known is None:
            self._record.add(key, metric)
        self._bar.set_postfix_str(f"drop {evaluation.drop:.4g} with {len(key or ())} layers in float")
        self._bar.update()
        return evaluation

    def _best(self) -> tuple[str, ...] | None:
        """Return the evaluated candidate with the fewest float layers that meets the target, else the one that drops least.

        None if there is no candidate: then nothing is known but that the model is good with all layers in floating
            point.
        """
        candidates = [(key, value) for key, value in self._evaluations.items() if key is not None]
        meeting = [(len(key), value.drop, key) for key, value in candidates if self._target.is_met(value.drop)]
        if meeting:
            return min(meeting)[2]
        return min(((value.drop, len(key), key) for key, value in candidates), default=(0, 0, None))[2]

    def _reason(self, found: tuple[str, ...] | None) -> str:
        if found is None:
            return "it is not met while any layer is quantized."
        if not found:
            return "it is met with all layers quantized."
        return f"it is met with {len(found)} of {len(self._layers)} layers in floating point."

    def _report(self, best: tuple[str, ...] | None, reason: str) -> AccuracyReport:
        original = self._evaluations[None].metric if None in self._evaluations else math.nan
        quantized = self._evaluations[()].metric if () in self._evaluations else math.nan
        in_float = [layer.path for layer in self._layers] if best is None else best
        drop = math.nan if best is None else self._evaluations[best].drop
        rows = [
            ControlledLayer(
                layer.path,
                layer.path in in_float,
                layer.bits,
                self._costs.get(layer.path, math.nan),
                layer.parameters * (32 - layer.bits) // 8,
            )
            for layer in self._layers
        ]
        rows.sort(key=lambda row: -row.cost if math.isfinite(row.cost) else 0.0)
        return AccuracyReport(
            met=self._target.is_met(drop),
            reason=reason,
            max_drop=self._target.max_drop,
            original=original,
            quantized=quantized,
            final=math.nan if best is None else self._evaluations[best].metric,
            drop=drop,
            layers=tuple(rows),
            evaluations=tuple(self._evaluations.values()),
        )
