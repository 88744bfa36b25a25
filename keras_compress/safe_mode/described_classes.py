"""The class that a description in a file names: one that is registered, or one of Keras' own. Nothing is imported to find it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from tensorflow.python.ops import init_ops, init_ops_v2
from tensorflow.python.util.tf_export import get_symbol_from_name

from keras_compress._keras import builtin_layers, keras

__all__ = ["described_class", "described_function", "is_described_spec"]

#: What a file may describe; everything else of Keras, as callbacks and downloads, it may not.
_KINDS = (
    keras.layers.Layer,
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.optimizers.Optimizer,
    keras.optimizers.legacy.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.mixed_precision.Policy,
    init_ops.Initializer,
    init_ops_v2.Initializer,
)
_NAMESPACES = (
    "layers",
    "models",
    "initializers",
    "regularizers",
    "constraints",
    "losses",
    "metrics",
    "mixed_precision",
)
_OPTIMIZERS = (
    "optimizers",
    "optimizers.legacy",
    "optimizers.schedules",
    "optimizers.experimental",
    "layers.experimental",
)
_FUNCTIONS = ("activations", "losses", "metrics", "initializers", "regularizers", "constraints")
#: Kinds of tensors that Keras writes down as the shape and type of an input.
_SPECS = ("TensorSpec", "RaggedTensorSpec", "SparseTensorSpec", "IndexedSlicesSpec")


def described_class(
    entry: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None, *, old: bool = False
) -> Any:
    """Return the class that Keras would take for a description, None if it is neither registered nor one that files may describe.

    Args:
        entry: a dict with ``class_name``; in files of Keras' newer format also ``module`` and ``registered_name``, which come first.
        custom_objects: classes and functions by name that are known besides those registered.
        old: the format knows classes by their names alone. Default False.
    """
    name, module = entry["class_name"], entry.get("module")
    found = _registered(name if old else entry.get("registered_name", name), custom_objects)
    if found is not None or not isinstance(name, str):
        return found
    if old:
        found = builtin_layers().get(name) or _public_classes().get(name)
    elif isinstance(module, str) and module.partition(".")[0] in ("keras", "tf_keras", "tensorflow"):
        found = get_symbol_from_name(f"{module}.{name}".replace("tf_keras", "keras", 1)) or _loaded(module, name)
    return found if isinstance(found, type) and issubclass(found, _KINDS) else None


def described_function(entry: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the function that a description names, None if it is neither registered nor one of Keras' activations, losses, …"""
    name, module = entry.get("config"), entry.get("module")
    found = _registered(name, custom_objects)
    if found is not None or not isinstance(name, str) or "." in name:
        return found
    spaces = _FUNCTIONS if module in (None, "builtins") else [str(module).partition(".")[2]]
    named = (get_symbol_from_name(f"keras.{space}.{name}") for space in spaces if space in _FUNCTIONS)
    return next((function for function in named if function is not None), None)


def is_described_spec(entry: Mapping[str, Any]) -> bool:
    """Return whether a description is that of the shape and type of a tensor."""
    module = entry.get("module")
    own = isinstance(module, str) and module.startswith("tensorflow.") and module in sys.modules
    return own and entry.get("spec_name") in _SPECS and entry.get("registered_name") is None


def _registered(name: Any, custom_objects: Mapping[str, Any] | None) -> Any:
    if not isinstance(name, str):
        return None
    return keras.saving.get_registered_object(name, custom_objects=dict(custom_objects or {}))


def _loaded(module: str, name: str) -> Any:
    """Return what a module that is imported already defines under a name."""
    found = sys.modules.get(f"tf_{module}" if module.startswith("keras") else module)
    return vars(found).get(name) if found is not None else None


@cache
def _public_classes() -> dict[str, Any]:
    """Return Keras' public classes by their names without modules, as older files write them down."""
    classes: dict[str, Any] = {}
    for space in (*_OPTIMIZERS, *_NAMESPACES):
        package: Any = keras
        for part in space.split("."):
            package = getattr(package, part)
        classes.update({name: value for name, value in vars(package).items() if isinstance(value, type)})
    return classes
