"""Make Keras models small and fast: train them quantized, binary or sparse in ordinary ``fit``, export files that are small.

Other packages register algorithms (:func:`register_algorithm`), file formats (:func:`register_format`) and layers
(:func:`register_layer_spec`). Operations on weights and activations are Keras layers, and registered with Keras.
"""

import keras_compress._working_folder  # noqa: F401  before anything that the working directory could hold
from keras_compress.algorithms import CompressionStage, register_algorithm
from keras_compress.algorithms.binarization import Binarization
from keras_compress.algorithms.const_sparsity import ConstSparsity
from keras_compress.algorithms.magnitude_sparsity import MagnitudeSparsity
from keras_compress.algorithms.quantization import Quantization
from keras_compress.algorithms.rb_sparsity import RBSparsity
from keras_compress.calibration import AdaptiveRounding
from keras_compress.callbacks import CheckpointManagerCallback, SaveBestCompressed, create_compression_callbacks
from keras_compress.checkpoint_files import latest_checkpoint
from keras_compress.config import CompressionConfig, json_schema, keep_in_float, register_default_init_args
from keras_compress.controller import CompressionController
from keras_compress.create import coverage, create_compressed_model
from keras_compress.data import Dataset
from keras_compress.diagnosis import diagnose
from keras_compress.errors import (
    AccuracyTargetNotMet,
    CompressionError,
    ConfigError,
    DataError,
    ExportAuditError,
    ExportError,
    StateError,
    UnsupportedModelError,
    UntrustedFileError,
)
from keras_compress.export import audit, benchmark, compare, export_model, register_format, strip
from keras_compress.graph import register_layer_spec
from keras_compress.html_report import report
from keras_compress.nncf_names import refuse
from keras_compress.plots import plot_accuracy_against_size, plot_latency, plot_schedule, plot_weight_histograms
from keras_compress.post_training import (
    AdvancedQuantizationParameters,
    DropType,
    IgnoredScope,
    ModelType,
    QuantizationParameters,
    QuantizationPreset,
    RangeEstimatorParameters,
    Subgraph,
    TargetDevice,
    analyze,
    quantize,
    quantize_with_accuracy_control,
)
from keras_compress.reports import ExportReport, quantization_parameters
from keras_compress.restore import restore
from keras_compress.safe_mode import load_model
from keras_compress.state import TFCompressionState, TFCompressionStateLoader


def __getattr__(name: str):
    """Say what to write for a name of NNCF."""
    refuse("The package keras_compress", "keras_compress", name)


__version__ = "0.1.0"

__all__ = [
    "AccuracyTargetNotMet",
    "AdaptiveRounding",
    "AdvancedQuantizationParameters",
    "Binarization",
    "CheckpointManagerCallback",
    "CompressionConfig",
    "CompressionController",
    "CompressionError",
    "CompressionStage",
    "ConfigError",
    "ConstSparsity",
    "DataError",
    "Dataset",
    "DropType",
    "ExportAuditError",
    "ExportError",
    "ExportReport",
    "IgnoredScope",
    "MagnitudeSparsity",
    "ModelType",
    "Quantization",
    "QuantizationParameters",
    "QuantizationPreset",
    "RBSparsity",
    "RangeEstimatorParameters",
    "SaveBestCompressed",
    "StateError",
    "Subgraph",
    "TFCompressionState",
    "TFCompressionStateLoader",
    "TargetDevice",
    "UnsupportedModelError",
    "UntrustedFileError",
    "analyze",
    "audit",
    "benchmark",
    "compare",
    "coverage",
    "create_compressed_model",
    "create_compression_callbacks",
    "diagnose",
    "export_model",
    "json_schema",
    "keep_in_float",
    "latest_checkpoint",
    "load_model",
    "plot_accuracy_against_size",
    "plot_latency",
    "plot_schedule",
    "plot_weight_histograms",
    "quantization_parameters",
    "quantize",
    "quantize_with_accuracy_control",
    "register_algorithm",
    "register_default_init_args",
    "register_format",
    "register_layer_spec",
    "report",
    "restore",
    "strip",
]
