"""Running files: names, errors, and any number of samples in a file that takes a fixed number of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_compress.batch_rows import filled_up, rows_of_samples
from keras_compress.errors import ExportError

__all__ = [
    "FED",
    "Inside",
    "MissingRuntime",
    "Run",
    "RunError",
    "TensorNames",
    "in_batches_of",
    "in_float_type",
    "one_batch",
    "require_package",
]


class MissingRuntime(ExportError):  # noqa: N818  what is the case
    """The package that runs files of a format is not installed."""


class RunError(ExportError):
    """The runtime of a file cannot run it, or what it returns is not what the model returns."""


@dataclass(frozen=True)
class TensorNames:
    """Names of the inputs and outputs of an exported model, in the order of ``model.inputs`` and ``model.outputs``."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Inside:
    """What a file computes.

    Attributes:
        samples: how many samples it has taken.
        tensors: the float tensors inside of it by name, in the order of computation.
        cut: names of the tensors that were read from files that end with them, because the file computes something else where
            it is asked for them, too.
    """

    samples: int
    tensors: tuple[tuple[str, np.ndarray], ...]
    cut: tuple[str, ...] = ()


#: What the name of an input ends with that takes the place of a tensor.
FED = "/given"

#: Maps the inputs of a model to its outputs, both in the order of the Keras model.
Run = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


def require_package(module: str, package: str, purpose: str) -> Any:
    """Return a module of an optional package.

    Raises:
        MissingRuntime: it is not installed; the message begins with the purpose and has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingRuntime(f"{purpose} needs a package: pip install {package}") from None


def in_float_type(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return numbers of floating point in the type that a file takes; a model in float16 or float64 is written in float32.

    Example:
        >>> in_float_type(np.ones(2, np.float64), np.float32).dtype, in_float_type(np.ones(2, np.int64), np.float32).dtype
        (dtype('float32'), dtype('int64'))
    """
    floats = array.dtype.kind in "fV" and np.dtype(dtype).kind in "fV"
    return array.astype(dtype) if floats and array.dtype != dtype else array


def one_batch(arrays: Sequence[np.ndarray], size: int | None) -> tuple[int, list[np.ndarray]]:
    """Return how many samples a file takes at once, and so many of the samples.

    Args:
        arrays: the samples, an array per input.
        size: of the file's fixed batch, None where it takes any number.

    Example:
        >>> one_batch([np.array([1, 2])], 3)
        (3, [array([1, 2, 2])])
    """
    rows = size or len(arrays[0])
    return rows, [filled_up(array, rows) for array in arrays]


def in_batches_of(size: int, run: Run) -> Run:
    """Return ``run`` for any number of samples, where the file takes exactly ``size`` of them at a time."""

    def run_any(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        samples = len(arrays[0])
        if samples == size:
            return run(arrays)
        parts = []
        for start in range(0, samples, size):
            outputs = run([filled_up(array[start:], size) for array in arrays])
            kept = min(size, samples - start)
            parts.append([rows_of_samples(np.atleast_1d(output), size, kept) for output in outputs])
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    return run_any
