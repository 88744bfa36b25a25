"""Entry points: ``module:function`` names a Python function, of the working directory or an installed package."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_compress_cli.command import UsageError

__all__ = ["import_function", "is_entry_point"]


def is_entry_point(text: str) -> bool:
    """Whether a text has the form ``module:function`` and is not the path of a file.

    Example:
        >>> is_entry_point("training:cifar10"), is_entry_point("model.keras")
        (True, False)
    """
    return re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", text) is not None and not Path(text).exists()


def import_function(text: str) -> Callable[..., Any]:
    """Return the function that ``module:function`` names.

    Raises:
        UsageError: the text has another form, or there is no such module or function.
    """
    if not is_entry_point(text):
        raise UsageError(f"'{text}' names no function. Expected: module:function, as training:load.")
    module_name, _, path = text.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # a module that this one needs is missing
        raise UsageError(
            f"There is no module '{module_name}'. Expected: a Python file in the working directory, or an installed "
            f"package. Received: '{text}'."
        ) from None
    for name in path.split("."):
        if not hasattr(found, name):
            raise UsageError(f"The module '{module_name}' has no '{path}'. Received: '{text}'.")
        found = getattr(found, name)
    if not callable(found):
        raise UsageError(f"'{text}' is no function but a {type(found).__name__}. Expected: a function.")
    return found
