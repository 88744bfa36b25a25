"""The core of TensorFlow's converter to TensorFlow Lite, which is C++ and can end the process that it runs in.

Only that core is loaded, which takes less than a second; of TensorFlow itself, which takes several, nothing is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

__all__ = ["call", "ready"]

_CORE = "tensorflow.compiler.mlir.lite.python"
_FUNCTIONS = "tensorflow.compiler.mlir.quantization.tensorflow.python"


def _core() -> Any:
    """Return TensorFlow's module of the functions of the core; what it imports besides them is put in place empty."""
    found = importlib.util.find_spec("tensorflow")
    if found is None or found.origin is None:
        raise ImportError("TensorFlow is not where this process looks for packages.")
    folder = Path(found.origin).parent
    for package in (_CORE, _FUNCTIONS, "tensorflow.python"):
        names = package.split(".")
        for length in range(1, len(names) + 1):
            name = ".".join(names[:length])
            sys.modules.setdefault(name, _package(name, folder.joinpath(*names[1:length])))
    library: Any = importlib.import_module(f"{_FUNCTIONS}.pywrap_function_lib")
    functions: Any = types.ModuleType(f"{_FUNCTIONS}.py_function_lib")
    functions.PyFunctionLibrary = library.PyFunctionLibrary
    loaded = types.ModuleType("tensorflow.python.pywrap_tensorflow")
    for module in (functions, loaded):
        parent, _, last = module.__name__.rpartition(".")
        sys.modules[module.__name__] = module
        setattr(sys.modules[parent], last, module)
    return importlib.import_module(f"{_CORE}.wrap_converter")


def _package(name: str, folder: Path) -> types.ModuleType:
    package: Any = types.ModuleType(name)
    package.__path__ = [str(folder)]
    return package


_CONVERTER = _core()


def ready() -> None:
    """Answer that the core is loaded."""


def call(function: str, *arguments: Any) -> tuple[Any, str]:
    """Call a function of the core.

    Returns:
        What it returns, or None, and the reason of the refusal, if it has refused.
    """
    try:
        return getattr(_CONVERTER, function)(*arguments), ""
    except Exception as error:
        return None, str(error)
