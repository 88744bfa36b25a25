"""How a range is found, in NNCF's terms or in those of the configuration."""

from __future__ import annotations

import enum
from typing import Any, get_args

from pydantic import Field

from keras_compress.calibration import RangeInitializer
from keras_compress.calibration.range_measurement import RangeParams, RangeType
from keras_compress.errors import ConfigError, short_repr
from keras_compress.post_training.user_parameters import UserParameters

__all__ = [
    "AggregatorType",
    "RangeEstimatorParameters",
    "StatisticsCollectorParameters",
    "StatisticsType",
    "range_initializer",
]


class StatisticsType(str, enum.Enum):
    """What of a sample becomes the end of a range."""

    MIN = "min"
    MAX = "max"
    ABS_MAX = "abs_max"
    QUANTILE = "quantile"
    ABS_QUANTILE = "abs_quantile"
    MEAN = "mean"


class AggregatorType(str, enum.Enum):
    """How the ends of all samples become one."""

    MEAN = "mean"
    MAX = "max"
    MIN = "min"
    MEDIAN = "median"
    MEAN_NO_OUTLIERS = "mean_no_outliers"
    MEDIAN_NO_OUTLIERS = "median_no_outliers"
    HISTOGRAM = "histogram"


class StatisticsCollectorParameters(UserParameters):
    """How one end of a range is found, in NNCF's terms."""

    statistics_type: StatisticsType | None = None
    aggregator_type: AggregatorType | None = None
    clipping_value: float | None = None
    quantile_outlier_prob: float = Field(1e-4, gt=0, lt=0.5)


class RangeEstimatorParameters(UserParameters):
    """How a range is found.

    Example:
        >>> RangeEstimatorParameters(type="mse").type
        'mse'
        >>> RangeEstimatorParameters(max={"statistics_type": "quantile", "quantile_outlier_prob": 0.01}).max.statistics_type.value
        'quantile'
    """

    type: RangeType | None = None
    """A range type of the configuration, as ``"min_max"``, ``"mse"``, ``"entropy"``; in the place of the two others."""
    min: StatisticsCollectorParameters = StatisticsCollectorParameters()
    """How each end is found, in NNCF's terms."""
    max: StatisticsCollectorParameters = StatisticsCollectorParameters()
    """How each end is found, in NNCF's terms."""


def range_initializer(parameters: RangeEstimatorParameters, name: str, samples: int) -> RangeInitializer:
    """Return the range initializer that NNCF's two collectors come nearest to.

    Args:
        parameters: how each end is found.
        name: of the parameter that they come from, for the error.
        samples: how many are measured.
    """
    low, high = parameters.min, parameters.max
    unset = all(
        (end.statistics_type, end.aggregator_type, end.clipping_value) == (None, None, None) for end in (low, high)
    )
    if parameters.type is not None and not unset:
        raise ConfigError(
            f"'{name}_range_estimator_params' says in two ways how ranges are found. Expected: 'type', or 'min' and 'max'. "
            f"Received: type={short_repr(parameters.type)} and others. Leave one of them out."
        )
    if parameters.type is not None:
        return RangeInitializer(type=parameters.type, num_init_samples=samples)
    if unset:
        return RangeInitializer(num_init_samples=samples)
    statistics = {end.statistics_type for end in (low, high) if end.statistics_type is not None}
    aggregators = {end.aggregator_type for end in (low, high) if end.aggregator_type is not None}
    found = _RANGE_TYPES.get(_range_kind(low, high))
    if found is None or low.clipping_value is not None or high.clipping_value is not None:
        raise ConfigError(
            f"'{name}_range_estimator_params' names a combination that is not available: statistics "
            f"{sorted(kind.value for kind in statistics)}, aggregators {sorted(kind.value for kind in aggregators)}, clipping "
            f"{low.clipping_value}, {high.clipping_value}. Expected: min/max with min/max or mean, or quantile with mean, or "
            f'type=one of {sorted(get_args(RangeType))}. Set type="mse" for a range searched by its error.'
        )
    percentiles = RangeParams(
        min_percentile=100 * low.quantile_outlier_prob, max_percentile=100 * (1 - high.quantile_outlier_prob)
    )
    return RangeInitializer(type=found, num_init_samples=samples, params=percentiles)


def _range_kind(low: StatisticsCollectorParameters, high: StatisticsCollectorParameters) -> tuple[str, str]:
    """Return what is taken of a sample, and of all samples; empty where the two ends do not make a range."""
    of_sample = _joined(
        _statistic(low.statistics_type, StatisticsType.MIN), _statistic(high.statistics_type, StatisticsType.MAX)
    )
    of_all = _joined(
        _aggregator(low.aggregator_type, AggregatorType.MIN), _aggregator(high.aggregator_type, AggregatorType.MAX)
    )
    return of_sample, of_all


def _statistic(given: StatisticsType | None, outermost: StatisticsType) -> str | None:
    kinds = {StatisticsType.QUANTILE: "quantile", StatisticsType.ABS_QUANTILE: "quantile"}
    return None if given is None else {**kinds, outermost: "extreme", StatisticsType.ABS_MAX: "extreme"}.get(given, "")


def _aggregator(given: AggregatorType | None, outermost: AggregatorType) -> str | None:
    return None if given is None else {outermost: "extreme", AggregatorType.MEAN: "mean"}.get(given, "")


def _joined(low: str | None, high: str | None) -> str:
    """Return the kind of both ends: that of the other where one says nothing, extremes where none does."""
    kinds = {low, high} - {None} or {"extreme"}
    return next(iter(kinds)) or "" if len(kinds) == 1 else ""


_RANGE_TYPES: dict[tuple[str, str], Any] = {
    ("extreme", "extreme"): "min_max",
    ("extreme", "mean"): "mean_min_max",
    ("quantile", "mean"): "mean_percentile",
}
