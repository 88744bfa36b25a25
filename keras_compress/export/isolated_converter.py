"""TensorFlow's converter to TensorFlow Lite, whose core runs in a process of its own.

The core is C++, and some graphs end the process that it runs in. The Python around it runs here, and its calls of the core are
answered by the other process, which is kept for the next file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tensorflow.lite.python import convert
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.metrics.wrapper import metrics_wrapper

from keras_compress._threads import CONVERTERS
from keras_compress.errors import ExportError
from keras_compress.export.isolated_runtime import EndedProcessError, runtime_of

__all__ = ["isolated_converter", "start_converter", "stored_sparsely"]

#: How long the core may take for one model.
SECONDS = 3600.0

_MODULE = "tflite_converter"


def start_converter() -> None:
    """Start the process, which becomes ready while something else is done here."""
    runtime_of(_MODULE).start()


@contextmanager
def isolated_converter(path: str | Path, way_out: str) -> Iterator[None]:
    """Let conversions call the core in the other process.

    Where that process cannot load the core, as of another version of TensorFlow, they call it in this one.

    Args:
        path: of the file that is to be written, for the message.
        way_out: a sentence that says what can help if the core dies.

    Raises:
        ExportError: the core has died, or took too long.
    """
    with CONVERTERS:
        modules = [module for module in (convert, metrics_wrapper) if hasattr(module, "wrap_converter")]
        before = [module.wrap_converter for module in modules]
        core = _Core()
        try:
            if core.is_ready():
                for module in modules:
                    module.wrap_converter = core
            yield
        except Exception as error:
            if not core.ended:
                raise
            raise ExportError(
                f"TensorFlow Lite's converter {core.ended} on the model for '{path}'. {way_out}"
            ) from error
        finally:
            for module, original in zip(modules, before, strict=True):
                module.wrap_converter = original


def stored_sparsely(content: bytes) -> bytes | None:
    """Return a file with those of its weights stored sparsely that have enough zeros.

    None if no weight has, or the core fails to do it.
    """
    with CONVERTERS:
        core = _Core()
        try:
            sparse = bytes(core.wrapped_experimental_mlir_sparsify(content)) if core.is_ready() else b""
        except RuntimeError:
            return None
    return sparse if sparse and _has_sparse_weights(sparse) else None


def _has_sparse_weights(content: bytes) -> bool:
    model = schema.Model.GetRootAsModel(content, 0)
    graphs = map(model.Subgraphs, range(model.SubgraphsLength()))
    return any(
        graph.Tensors(index).Sparsity() is not None for graph in graphs for index in range(graph.TensorsLength())
    )


class _Core:
    """Takes the place of TensorFlow's module ``wrap_converter``; its functions are those of the other process.

    Attributes:
        ended: what has happened to the process, if it has not answered.
    """

    def __init__(self) -> None:
        self.ended = ""

    def is_ready(self) -> bool:
        """Return whether the process has loaded the core."""
        try:
            runtime_of(_MODULE).answer(SECONDS, "call", "ready")
        except (EndedProcessError, TimeoutError):
            return False
        return True

    def __getattr__(self, function: str) -> Callable[..., Any]:
        return functools.partial(self._call, function)

    def _call(self, function: str, *arguments: Any) -> Any:
        if self.ended:
            return []  # what a process that is gone has collected about errors
        try:
            value, reason = runtime_of(_MODULE).answer(SECONDS, "call", "call", function, *arguments)
        except TimeoutError:
            self.ended = f"was given up after {SECONDS:g} s"
        except EndedProcessError as ended:
            self.ended = f"has ended its process ({ended})"
        if self.ended or reason:
            raise RuntimeError(self.ended or reason)
        return value
