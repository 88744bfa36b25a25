"""EvaluationRecord: evaluations of an accuracy control in a JSON file, so that an interrupted run can go on."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

from keras_compress.errors import StateError, short_repr
from keras_compress.files import require_replaceable, write_file
from keras_compress.graph import take
from keras_compress.post_training.calibrated_model import CalibratedModel

__all__ = ["EvaluationRecord"]


class EvaluationRecord:
    """Metrics by the layers in floating point; they belong to one quantized model in one runtime.

    Args:
        path: the file; what it holds already is read.
        quantized: the model with all layers quantized.
        runtime: in which it is validated.

    Raises:
        StateError: the file is damaged, or belongs to another model or runtime.
        ExportError: there is something else than a file.
    """

    def __init__(self, path: Path, quantized: CalibratedModel, runtime: str):
        self._path = path
        self._model = f"{_fingerprint(quantized)} in {runtime}"
        self._metrics: dict[str, float] = {}
        if not path.is_dir():  # which is no record, and said below
            require_replaceable(path)
        if path.exists():
            try:
                values = json.loads(path.read_text(encoding="utf-8"))
                self._metrics = {str(key): float(metric) for key, metric in values["metrics"].items()}
                model = values["model"]
                if not all(map(math.isfinite, self._metrics.values())):
                    raise ValueError("a metric is not finite")
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise StateError(
                    f"'{path}' cannot be read as the record of an accuracy control. Expected: a file written by an earlier run. "
                    f"Received: one that gives {type(error).__name__}: {error}. Remove it, or choose another path."
                ) from None
            if model != self._model:
                raise StateError(
                    f"'{path}' is the record of another model, configuration, calibration or runtime. Expected: that of the run to "
                    f"go on with, {short_repr(self._model)}. Received: {short_repr(model)}. Remove it, or choose another path."
                )

    def metric(self, key: tuple[str, ...] | None) -> float | None:
        """Return the metric with the layers ``key`` in floating point, of the original model for None, if it is known."""
        return self._metrics.get(json.dumps(key))

    def add(self, key: tuple[str, ...] | None, metric: float) -> None:
        """Write down a metric; the file is whole at any time."""
        self._metrics[json.dumps(key)] = metric
        content = {"model": self._model, "metrics": self._metrics}
        write_file(self._path, json.dumps(content, indent=1))


def _fingerprint(quantized: CalibratedModel) -> str:
    """Return a digest of the configuration and of all numbers of a quantized model."""
    digest = hashlib.sha256(json.dumps(quantized.config.to_dict(), sort_keys=True).encode())
    for path, arrays in sorted(take(quantized.model).weights.items()):
        for name, array in sorted(arrays.items()):
            digest.update(f"{path}/{name}".encode())
            digest.update(memoryview(array.tobytes()))
    return digest.hexdigest()
