"""What compression did, for people: statistics as tables and numbers."""

from keras_compress.report.statistics import CompressionStatistics, FloatWeight, QuantizerRow, collect_statistics

__all__ = ["CompressionStatistics", "FloatWeight", "QuantizerRow", "collect_statistics"]
