"""Format: what a file format has to say: how a model is written, what is stored in the file, and how the file is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_compress.export.runtimes.run import Run, TensorNames, in_batches_of
from keras_compress.export.stored_weight import StoredWeight
from keras_compress.graph import ModelSnapshot
from keras_compress.reports import FileTensor

__all__ = ["Format", "Run", "StoredWeight", "TensorNames", "in_batches_of"]


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
        isolated: name of the module of :mod:`keras_compress.export.runtimes` that reads and runs files of the format in a process
            of its own; None (default) for this process.
        interface: reads the inputs and the outputs of a file, each in the order of the model; None where that is not told.
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
    isolated: str | None = None
    interface: Callable[[Path, TensorNames], tuple[Sequence[FileTensor], Sequence[FileTensor]]] | None = None

    def targets(self, path: Path) -> list[Path]:
        """Return every path that an export to ``path`` writes."""
        return [path, *(path.with_suffix(suffix) for suffix in self.beside)]

    def files(self, path: Path) -> list[Path]:
        """Return every file that an exported model consists of."""
        every = path.rglob("*") if path.is_dir() else self.targets(path)
        return [file for file in every if file.is_file()]

    def size(self, path: Path) -> int:
        """Return the bytes of all files that an exported model consists of."""
        return sum(file.stat().st_size for file in self.files(path))
