"""How numbers are found from data: ranges of activations and weights, statistics of batch normalization."""

from keras_compress.calibration.adaptive_rounding import AdaptiveRounding, round_adaptively
from keras_compress.calibration.batch_norm_adaptation import BatchNormAdaptation, adapt_batch_norm
from keras_compress.calibration.bias_correction import FastBiasCorrection, corrected_layers
from keras_compress.calibration.data_pass import DataObserver, Rows, observe
from keras_compress.calibration.ranges import (
    ActivationRanges,
    Measurement,
    RangeInitializer,
    calibrate_activations,
    calibrate_weight,
    observable,
)
from keras_compress.calibration.sequential_bias_correction import correct_biases_in_sequence

__all__ = [
    "ActivationRanges",
    "AdaptiveRounding",
    "BatchNormAdaptation",
    "DataObserver",
    "FastBiasCorrection",
    "Measurement",
    "RangeInitializer",
    "Rows",
    "adapt_batch_norm",
    "calibrate_activations",
    "calibrate_weight",
    "correct_biases_in_sequence",
    "corrected_layers",
    "observable",
    "observe",
    "round_adaptively",
]
