"""What compression did, for people: statistics as tables and numbers."""

from keras_compress.report.coverage import Coverage, CoverageRow, coverage_of
from keras_compress.report.statistics import CompressionStatistics, QuantizerRow, collect_statistics

__all__ = [
    "CompressionStatistics",
    "Coverage",
    "CoverageRow",
    "QuantizerRow",
    "collect_statistics",
    "coverage_of",
]
