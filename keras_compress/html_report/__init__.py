"""The report on a compressed model as one HTML file. It shows what others measured, and compresses and trains nothing."""

from keras_compress.html_report.report import report

__all__ = ["report"]
