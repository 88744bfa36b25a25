"""The range estimators by the names that the configuration has for them."""

from __future__ import annotations

from keras_compress.calibration.histogram_estimators import Percentile, ThreeSigma
from keras_compress.calibration.least_divergence import LeastDivergence, LeastDivergenceOfWeights
from keras_compress.calibration.least_error import LeastError, LeastErrorOfWeights
from keras_compress.calibration.range_estimator import RangeEstimator
from keras_compress.calibration.sample_estimators import MeanMinMax, MeanPercentile, MinMax, MixedMinMax

__all__ = ["ESTIMATORS", "WEIGHT_ESTIMATORS", "RangeEstimator"]

#: For activations, which come in batches.
ESTIMATORS: dict[str, type[RangeEstimator]] = {
    "mixed_min_max": MixedMinMax,
    "min_max": MinMax,
    "mean_min_max": MeanMinMax,
    "threesigma": ThreeSigma,
    "percentile": Percentile,
    "mean_percentile": MeanPercentile,
    "mse": LeastError,
    "entropy": LeastDivergence,
}

#: For weights, which are there all at once: a single sample, whose values are taken exactly and not by a histogram.
WEIGHT_ESTIMATORS: dict[str, type[RangeEstimator]] = {
    **ESTIMATORS,
    "mixed_min_max": MinMax,
    "percentile": MeanPercentile,
    "mse": LeastErrorOfWeights,
    "entropy": LeastDivergenceOfWeights,
}
