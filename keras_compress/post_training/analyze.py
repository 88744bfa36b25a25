"""analyze: which layers suffer from quantization, and what each of them costs the outputs of the model."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_compress._keras import is_graph_model, keras
from keras_compress.arguments import flag, whole_number
from keras_compress.data import Dataset
from keras_compress.errors import ConfigError
from keras_compress.graph.model_check import first_compressed_layer
from keras_compress.post_training.quantize import QuantizeOptions, calibrated_by_options
from keras_compress.post_training.sensitivity import analyze_layers
from keras_compress.post_training.sensitivity_report import SensitivityReport

__all__ = ["analyze"]


def analyze(
    model: keras.Model,
    data: Any,
    *,
    samples: int = 64,
    only_one: bool = True,
    leave_one_out: bool = True,
    **options: Any,
) -> SensitivityReport:
    """Return which layers suffer from quantization, and what each of them costs the outputs of the model.

    Args:
        model: a compressed model, which is compared with itself in floating point, or a plain one, which is quantized
            first (without correction of biases, so that the damage is that of quantization alone). It is only read.
        data: samples: a ``kc.Dataset`` or what it takes. No labels are needed.
        samples: how many the errors are measured on. Default 64.
        only_one: measure the outputs with each layer quantized alone, which takes a run per layer. Default True.
        leave_one_out: measure the outputs with each layer alone in floating point. Default True. Without both, the
            analysis takes two runs in all.
        options: of :func:`quantize`, for a plain model.

    Returns:
        A report that prints as a table, is saved as CSV or JSON, and can be drawn.

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")])
        >>> report = analyze(model, np.random.default_rng(0).normal(size=(32, 4)).astype("float32"))
        >>> sorted(row.layer for row in report.rows)
        ['a', 'b']
    """
    dataset = Dataset.of(data)
    samples = whole_number("samples", samples, 1)
    only_one, leave_one_out = flag("only_one", only_one), flag("leave_one_out", leave_one_out)
    allowed = [field.name for field in dataclasses.fields(QuantizeOptions)]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ConfigError(
            f"analyze has no option '{unknown[0]}'. Expected: one of {allowed}. Received: {sorted(options)}."
        )
    if isinstance(model, keras.Model) and is_graph_model(model) and first_compressed_layer(model):
        if options:
            raise ConfigError(
                f"The model is compressed already, so {sorted(options)} mean nothing. Expected: no options. Leave them out."
            )
        compressed = model
    else:
        compressed = calibrated_by_options(model, dataset, QuantizeOptions(**options)).uncorrected()
    return analyze_layers(compressed, dataset, samples, only_one=only_one, leave_one_out=leave_one_out)
