"""Run: a file that is ready to run, as a function of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from keras_compress.errors import ExportError

__all__ = ["MissingRuntime", "Run", "RunError", "in_batches_of"]


class MissingRuntime(ExportError):  # noqa: N818  what is the case
    """The package that runs files of a format is not installed."""


class RunError(ExportError):
    """The runtime of a file cannot run it, or what it returns is not what the model returns."""


#: Maps the inputs of a model to its outputs, both in the order of the Keras model.
Run = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


def in_batches_of(size: int, run: Run) -> Run:
    """Return ``run`` for any number of samples, where the file takes exactly ``size`` of them at a time."""

    def run_any(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        samples = len(arrays[0])
        if samples == size:
            return run(arrays)
        parts = []
        for start in range(0, samples, size):
            indices = np.minimum(np.arange(start, start + size), samples - 1)
            parts.append(run([array[indices] for array in arrays]))
        return [np.concatenate(outputs)[:samples] for outputs in zip(*parts, strict=True)]

    return run_any
