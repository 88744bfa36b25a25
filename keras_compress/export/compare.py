"""Compare what a file computes with what the model computes, on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.data import Dataset, input_specs, pack_inputs
from keras_compress.export.foreign_errors import explained
from keras_compress.export.format import Format, TensorNames
from keras_compress.graph.variables import leaf_layers
from keras_compress.reports import Comparison
from keras_compress.reports.formatting import decibels

__all__ = ["compare_arrays", "compare_outputs"]

#: Samples on which a file is compared with the model.
SAMPLES = 1000


def compare_outputs(model: keras.Model, path: Path, form: Format, names: TensorNames, data: Any) -> Comparison:
    """Run a file and the model it was made from on the same samples.

    Raises:
        ExportError: the runtime of the format is missing, or it cannot run the file.
    """
    layers = [name for name, _ in leaf_layers(model)]
    with explained(f"{form.name} cannot load '{path}'", layers=layers):
        run = form.load(path, names, 0)
    batches = list(Dataset.of(data).batches(input_specs(model), 32, SAMPLES))
    expected: list[list[np.ndarray]] = []
    received: list[list[np.ndarray]] = []
    size = model.inputs[0].shape[0]
    for batch in batches:
        for start in range(0, batch.samples, size or len(batch.inputs[0])):
            part = [array[start : start + (size or len(array))] for array in batch.inputs]
            kept = min(len(part[0]), batch.samples - start)
            outputs = model(pack_inputs(model, part), training=False)
            expected.append([np.asarray(output)[:kept] for output in tf.nest.flatten(outputs)])
            with explained(f"{form.name} cannot run '{path}'", layers=layers):
                received.append([output[:kept] for output in run(part)])
    return compare_arrays(*([np.concatenate(o) for o in zip(*side, strict=True)] for side in (expected, received)))


def compare_arrays(expected: Sequence[np.ndarray], received: Sequence[np.ndarray]) -> Comparison:
    """Compare outputs as arrays, those that count as the truth first; of several the worst counts."""
    errors, steps, ratios, same = [0.0], [0.0], [np.inf], []
    for one, other in zip(expected, received, strict=True):
        one, other = one.astype(np.float64), np.asarray(other, np.float64).reshape(one.shape)
        difference = np.abs(one - other)
        errors.append(difference.max() / max(np.abs(one).max(), 1e-30))
        steps.append(difference.max() / max(np.ptp(one) / 255, 1e-30))
        noise = np.mean(difference**2)
        ratios.append(decibels(noise / max(np.mean(one**2), np.finfo(np.float64).tiny)))
        if one.ndim > 1 and one.shape[-1] > 1:
            same.append(float(np.mean(one.argmax(-1) == other.argmax(-1))))
    return Comparison(
        len(expected[0]), float(max(errors)), float(max(steps)), float(min(ratios)), min(same) if same else None
    )
