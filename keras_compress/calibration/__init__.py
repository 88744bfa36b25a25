"""How numbers are found from data: ranges of activations and weights, statistics of batch normalization."""

from keras_compress.calibration.adaptive_rounding import AdaptiveRounding, round_adaptively
from keras_compress.calibration.batch_norm_adaptation import BatchNormAdaptation, adapt_batch_norm, adaptable
from keras_compress.calibration.bias_correction import FastBiasCorrection, correct_biases_in_sequence, corrected_layers
from keras_compress.calibration.bias_grid import put_biases_on_grid
from keras_compress.calibration.correction_trials import Correction, CorrectionTrial, CorrectionTrials
from keras_compress.calibration.held_out import HeldOutSamples, hold_out
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
from keras_compress.calibration.untrained_statistics import measure_untrained_statistics, put_back_statistics

__all__ = [
    "ActivationRanges",
    "AdaptiveRounding",
    "BatchNormAdaptation",
    "Correction",
    "CorrectionTrial",
    "CorrectionTrials",
    "FastBiasCorrection",
    "HeldOutSamples",
    "InputCheck",
    "Measurement",
    "RangeInitializer",
    "StatisticsCollector",
    "ValidRows",
    "adapt_batch_norm",
    "adaptable",
    "calibrate_activations",
    "calibrate_weight",
    "collect_statistics",
    "correct_biases_in_sequence",
    "corrected_layers",
    "hold_out",
    "measure_untrained_statistics",
    "observable",
    "put_back_statistics",
    "put_biases_on_grid",
    "round_adaptively",
]
