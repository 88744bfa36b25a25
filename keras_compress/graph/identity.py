"""What the class of a serialized layer is: one of Keras' own, or an operation of compression.

A class is known by its module and its registered name together. A class of the user's that has the name of a Keras
layer is another class, and so is one in a package whose name begins with ``keras``.
"""

from __future__ import annotations

from typing import Any

from keras_compress._keras import keras
from keras_compress.layers import WeightOp

__all__ = ["STAND_IN", "is_builtin", "is_operation", "is_own", "operation_class"]

_PACKAGES = ("keras", "tf_keras", "tensorflow")
#: What the registered name begins with where a snapshot makes a layer in a way of its own, as by a copy. The class is
#: that of the layer, and the module tells whose it is.
STAND_IN = "stand-in for "


def is_builtin(entry: dict[str, Any]) -> bool:
    """Return whether a serialized layer is of a class that Keras itself defines.

    Args:
        entry: a layer as Keras serializes it, with ``module``, ``class_name`` and ``registered_name``.
    """
    package = (entry.get("module") or "").partition(".")[0]
    name = entry.get("registered_name")
    own = name in (None, entry["class_name"]) or (isinstance(name, str) and name.startswith(STAND_IN))
    return package in _PACKAGES and own


def is_own(entry: dict[str, Any], *classes: type) -> bool:
    """Return whether a serialized layer is of one of these classes, which this package registers.

    Args:
        entry: a layer as Keras serializes it.
        classes: registered classes of layers.
    """
    name = entry.get("registered_name")
    if isinstance(name, str) and name.startswith(STAND_IN):
        return (entry.get("module"), entry["class_name"]) in [(cls.__module__, cls.__name__) for cls in classes]
    return isinstance(name, str) and keras.saving.get_registered_object(name) in classes


def operation_class(entry: dict[str, Any]) -> type[WeightOp] | None:
    """Return the class of a serialized operation of compression, also of one that another package registered, else None.

    Args:
        entry: a layer as Keras serializes it.
    """
    name = entry.get("registered_name")
    found = keras.saving.get_registered_object(name) if isinstance(name, str) else None
    return found if isinstance(found, type) and issubclass(found, WeightOp) else None


def is_operation(entry: dict[str, Any], *classes: type) -> bool:
    """Return whether a serialized layer is an operation of compression of one of the classes given, or of a subclass."""
    found = operation_class(entry)
    return found is not None and issubclass(found, classes or (WeightOp,))
