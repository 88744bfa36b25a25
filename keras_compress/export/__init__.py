"""Model files for runtimes: one format per file of this folder. Every file is read back and audited."""

from keras_compress.export.export_model import audit, benchmark, export_model
from keras_compress.export.format import Format, StoredWeight, TensorNames
from keras_compress.export.layer_comparison import compare
from keras_compress.export.layer_departure import LayerComparison
from keras_compress.export.registry import format_of, format_options, register_format, registered_formats
from keras_compress.export.stripped_model import strip

__all__ = [
    "Format",
    "LayerComparison",
    "StoredWeight",
    "TensorNames",
    "audit",
    "benchmark",
    "compare",
    "export_model",
    "format_of",
    "format_options",
    "register_format",
    "registered_formats",
    "strip",
]
