"""Model files for runtimes: one format per file of this folder. Every file is read back and audited."""

from keras_compress.export.export_model import audit, benchmark, export_model
from keras_compress.export.format import Format, StoredWeight, TensorNames
from keras_compress.export.registry import format_of, format_options, register_format, registered_formats

__all__ = [
    "Format",
    "StoredWeight",
    "TensorNames",
    "audit",
    "benchmark",
    "export_model",
    "format_of",
    "format_options",
    "register_format",
    "registered_formats",
]
