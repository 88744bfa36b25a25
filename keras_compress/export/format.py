"""Format: what a file format has to say: how a model is written, what is stored in the file, and how the file is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_compress.graph import ModelSnapshot
from keras_compress.reports import FileTensor

__all__ = ["Format", "Run", "StoredWeight", "TensorNames", "in_batches_of"]

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


@dataclass(frozen=True)
class TensorNames:
    """Names of the inputs and outputs of an exported model, in the order of ``model.inputs`` and ``model.outputs``."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class StoredWeight:
    """A constant as a file holds it.

    Attributes:
        name: its name in the file.
        values: the dequantized numbers, float32, in any order of axes.
        stored_as: type of the numbers in the file, as ``"int8"``, ``"u1"``, ``"float32"``.
        size: bytes it takes in the file, without scales.
        on_grid: whether the file states the grid of the numbers: they are integers, or inputs of a quantizer.
        input_quantized: whether the operation that computes with it reads integers; None if there is no such operation.
        runs_in_integers: whether the runtime computes it in integers; None if that is not known.
    """

    name: str
    values: np.ndarray
    stored_as: str
    size: int
    on_grid: bool
    input_quantized: bool | None = None
    runs_in_integers: bool | None = None


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        name: as in ``export_model(…, save_format=name)``.
        suffix: of its files; empty for a folder.
        write: writes a model; its keyword-only parameters are the options of the format.
        stored_weights: reads every constant of a file that may be a weight.
        load: makes a file ready to run, given the names of its inputs and outputs (None: in the order of the file) and
            the number of threads (0: runtime default).
        passes: rewritings that change weights before they are stored, in order.
        integers: whether the format has a place for integers; else weights stay float32 numbers on their grids.
        keeps_quantizers: whether quantizers of activations are in the file.
        open: returns the object of the runtime that users run the file with; None where there is no such runtime.
        runtime: its name, as in ``quantize_with_accuracy_control(…, validate_with=name)``; None where there is none.
        beside: suffixes of further files with the same stem.
        tensors: reads the inputs and the outputs of a file, each in the order of the model; None where that is not told.
    """

    name: str
    suffix: str
    write: Callable[..., Path]
    stored_weights: Callable[[Path], list[StoredWeight]]
    load: Callable[[Path, TensorNames | None, int], Run]
    passes: tuple[Callable[[ModelSnapshot], ModelSnapshot], ...] = ()
    integers: bool = True
    keeps_quantizers: bool = True
    open: Callable[[Path, int], Any] | None = None
    runtime: str | None = None
    beside: tuple[str, ...] = ()
    tensors: Callable[[Path, TensorNames], tuple[Sequence[FileTensor], Sequence[FileTensor]]] | None = None

    def files(self, path: Path) -> list[Path]:
        """Return every file that an exported model consists of."""
        every = path.rglob("*") if path.is_dir() else [path, *(path.with_suffix(suffix) for suffix in self.beside)]
        return [file for file in every if file.is_file()]

    def size(self, path: Path) -> int:
        """Return the bytes of all files that an exported model consists of."""
        return sum(file.stat().st_size for file in self.files(path))
