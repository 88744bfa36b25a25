"""How numbers are found from data: ranges of activations and weights, statistics of batch normalization."""

from keras_compress.calibration.adaptive_rounding import AdaptiveRounding, round_adaptively
from keras_compress.calibration.batch_norm_adaptation import BatchNormAdaptation, adapt_batch_norm
from keras_compress.calibration.bias_correction import FastBiasCorrection, correct_biases_in_sequence, corrected_layers
from keras_compress.calibration.input_check import InputCheck
from keras_compress.calibration.range_measurement import (
    ActivationRanges,
    Measurement,
    RangeInitializer,
    calibrate_activations,
    calibrate_weight,
    observable,
)
from keras_compress.calibration.statistics_pass import StatisticsCollector, ValidRows, collect_statistics

__all__ = [
    "ActivationRanges",
    "AdaptiveRounding",
    "BatchNormAdaptation",
    "FastBiasCorrection",
    "InputCheck",
    "Measurement",
    "RangeInitializer",
    "StatisticsCollector",
    "ValidRows",
    "adapt_batch_norm",
    "calibrate_activations",
    "calibrate_weight",
    "collect_statistics",
    "correct_biases_in_sequence",
    "corrected_layers",
    "observable",
    "round_adaptively",
]
