"""What compression did, for people: statistics as tables and numbers."""

from keras_compress.reports.coverage import Coverage, CoverageRow, coverage_of
from keras_compress.reports.export_report import Comparison, ExportReport, FileTensor, WeightAudit
from keras_compress.reports.model_size import ModelSize, measure_size
from keras_compress.reports.operations import OperationRow, count_operations
from keras_compress.reports.quantization_parameters import quantization_parameters
from keras_compress.reports.statistics import (
    CompressionStatistics,
    QuantizerRow,
    SparsityRow,
    collect_statistics,
)

__all__ = [
    "Comparison",
    "CompressionStatistics",
    "Coverage",
    "CoverageRow",
    "ExportReport",
    "FileTensor",
    "ModelSize",
    "OperationRow",
    "QuantizerRow",
    "SparsityRow",
    "WeightAudit",
    "collect_statistics",
    "count_operations",
    "coverage_of",
    "measure_size",
    "quantization_parameters",
]
