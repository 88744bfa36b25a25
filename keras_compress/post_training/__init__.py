"""What is done to a model after training: quantization by calibration, control of its accuracy, analysis of its layers."""

from keras_compress.post_training.accuracy_control import quantize_with_accuracy_control
from keras_compress.post_training.accuracy_report import AccuracyReport, ControlledLayer, Evaluation
from keras_compress.post_training.accuracy_search import DropType
from keras_compress.post_training.analyze import analyze
from keras_compress.post_training.ignored_scope import IgnoredScope, Subgraph
from keras_compress.post_training.parameters import (
    AdvancedBiasCorrectionParameters,
    AdvancedQuantizationParameters,
    ModelType,
    OverflowFix,
    QuantizationParameters,
    QuantizationPreset,
    TargetDevice,
)
from keras_compress.post_training.quantize import quantize
from keras_compress.post_training.range_parameters import (
    AggregatorType,
    RangeEstimatorParameters,
    StatisticsCollectorParameters,
    StatisticsType,
)
from keras_compress.post_training.sensitivity_report import LayerSensitivity, SensitivityReport

__all__ = [
    "AccuracyReport",
    "AdvancedBiasCorrectionParameters",
    "AdvancedQuantizationParameters",
    "AggregatorType",
    "ControlledLayer",
    "DropType",
    "Evaluation",
    "IgnoredScope",
    "LayerSensitivity",
    "ModelType",
    "OverflowFix",
    "QuantizationParameters",
    "QuantizationPreset",
    "RangeEstimatorParameters",
    "SensitivityReport",
    "StatisticsCollectorParameters",
    "StatisticsType",
    "Subgraph",
    "TargetDevice",
    "analyze",
    "quantize",
    "quantize_with_accuracy_control",
]
