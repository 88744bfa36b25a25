"""Validation of candidates: in Keras, or exported and opened in the runtime that the model is shipped for."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress._keras import keras
from keras_compress.data import Dataset
from keras_compress.errors import CompressionError, ConfigError, short_repr
from keras_compress.export import format_options, registered_formats

__all__ = ["Validator", "runtimes"]


def runtimes() -> dict[str, str | None]:
    """Return by the name of a runtime the format of the files it runs, None for Keras itself."""
    return {"keras": None} | {form.runtime: name for name, form in registered_formats().items() if form.runtime}


class Validator:
    """Returns the metric of a model.

    Args:
        validation_fn: ``validation_fn(model, data)`` returns the metric, or the metric and values per sample. ``model``
            is the Keras model, an ``openvino.CompiledModel``, an ``onnxruntime.InferenceSession`` or a TensorFlow Lite
            interpreter.
        data: what to hand over: a ``kc.Dataset`` is handed over as its elements before its ``transform_func``,
            everything else as it is.
        runtime: ``"keras"``, ``"openvino"``, ``"onnxruntime"`` or ``"tflite"``.
        calibration_data: for files that need ranges which training does not.

    Raises:
        ConfigError: there is no such runtime.
    """

    def __init__(self, validation_fn: Callable, data: Any, runtime: str, calibration_data: Dataset):
        known = runtimes()
        if not isinstance(runtime, str) or runtime not in known:
            raise ConfigError(
                f"Wrong value for 'validate_with'. Expected: one of {list(known)}. Received: {short_repr(runtime)}."
            )
        if not callable(validation_fn):
            raise ConfigError(
                "Wrong value for 'validation_fn'. Expected: a function of a model and the validation data that returns a "
                f"number. Received: {short_repr(validation_fn)}."
            )
        self._validation_fn = validation_fn
        # What can be read once only would be empty from the second evaluation on.
        self._data = Dataset(data) if isinstance(data, Iterator) else data
        self._format = known[runtime]
        self._calibration_data = calibration_data

    def __call__(self, model: keras.Model) -> float:
        """Return the metric of a Keras model, compressed or not."""
        if self._format is None:
            return self._metric(model)
        form = registered_formats()[self._format]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"candidate{form.suffix}"
            options = {"calibration_data": self._calibration_data}
            form.write(model, path, **{key: options[key] for key in format_options(path) if key in options})
            if form.open is None:
                raise ConfigError(f"Files of the format '{form.name}' have no runtime to validate with.")
            return self._metric(form.open(path, 0))

    def _metric(self, model: Any) -> float:
        data = self._data.get_data() if isinstance(self._data, Dataset) else self._data
        result = self._validation_fn(model, data)
        metric = result[0] if isinstance(result, tuple) and result else result
        try:
            value = float(metric.item() if isinstance(metric, (np.ndarray, np.generic)) else metric)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise CompressionError(
                "validation_fn returned no metric. Expected: a finite number, or a tuple of it and values per sample. "
                f"Received: {short_repr(result)}."
            )
        return value
