"""How numbers are found from data: ranges of activations and weights, statistics of batch normalization."""

from keras_compress.calibration.batch_norm_adaptation import BatchNormAdaptation, adapt_batch_norm
from keras_compress.calibration.ranges import (
    Measurement,
    RangeInitializer,
    calibrate_activations,
    calibrate_weight,
    observable,
)

__all__ = [
    "BatchNormAdaptation",
    "Measurement",
    "RangeInitializer",
    "adapt_batch_norm",
    "calibrate_activations",
    "calibrate_weight",
    "observable",
]
