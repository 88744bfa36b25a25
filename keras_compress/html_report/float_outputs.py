"""compare_with_float: the outputs of a compressed model against those with its quantizers switched off."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.calibration.model_function import ModelFunction, runs_over
from keras_compress.calibration.model_states import fresh_states
from keras_compress.data import Dataset
from keras_compress.export.result_comparison import compare_arrays
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CalibratedOp, CompressedLayer, observed
from keras_compress.reports import Comparison

__all__ = ["compare_with_float"]

SAMPLES, BATCH = 256, 16


def compare_with_float(model: keras.Model, data: Any) -> Comparison | None:
    """Compare the outputs of a model on up to 256 samples; None for a model without quantizers.

    Zeros and binary weights stay as they are; what is switched off maps to a grid.

    Args:
        model: the compressed model; it is only read.
        data: what ``kc.Dataset`` takes.
    """
    operations = [layer for _, layer in leaf_layers(model) if isinstance(layer, CalibratedOp)]
    wrappers = [layer for _, layer in leaf_layers(model) if isinstance(layer, CompressedLayer)]
    operations += [op for layer in wrappers for op in layer.weight_ops if isinstance(op, CalibratedOp)]
    if not operations:
        return None

    with fresh_states(model) as states:

        def outputs(inputs):
            states.reset()
            with observed({}, operations):
                exact = tf.nest.flatten(model(inputs, training=False))
            states.reset()
            return exact, tf.nest.flatten(model(inputs, training=False))

        run = ModelFunction(model, outputs, runs=2 * runs_over(model, BATCH, SAMPLES))
        found = [result for _, result in run.over(Dataset.of(data), BATCH, SAMPLES)]
    exact, quantized = (
        [np.concatenate([np.asarray(part) for part in parts]) for parts in zip(*side, strict=True)]
        for side in zip(*found, strict=True)
    )
    return compare_arrays(exact, quantized)
