"""Describe layers of Keras' own that hold functions without a name, which no configuration can hold.

Such a layer is copied from the live one. Its description is for what reads or changes the arguments: which axes a
convolution has, or whether it has a bias. A layer that gets other arguments, or an activation function that moves to a layer of
its own, finds the functions by the names that are given to them here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from keras_compress._keras import keras, serialize
from keras_compress._threads import ignored_warnings
from keras_compress.graph.variables import sublayers

__all__ = ["described_by_named_functions", "is_known", "is_lambda"]

_NAME = "registered_name"
_IDENTITY = ("module", "class_name", _NAME)
_KNOWN_MODULES = ("tf_keras.", "keras.", "tensorflow.", "keras_compress.")


def described_by_named_functions(layer: keras.layers.Layer, custom_objects: dict[str, Any]) -> dict[str, Any] | None:
    """Return what Keras says of a layer, each function without a name by one that is added to the custom objects.

    Args:
        layer: the layer.
        custom_objects: what descriptions refer to by name; functions are added in place.

    Returns:
        The description. None where there is none: the layer is a ``Lambda``, is not of Keras' own, holds something else that has no
        configuration, or has layers inside it and is no ``TimeDistributed``.
    """
    if type(layer) is keras.layers.TimeDistributed:
        inner = described_by_named_functions(layer.layer, custom_objects)
        config = {"name": layer.name, "trainable": layer.trainable, "dtype": layer.dtype_policy.name, "layer": inner}
        return inner and {"module": "keras.layers", "class_name": "TimeDistributed", "config": config, _NAME: None}
    if isinstance(layer, keras.layers.Lambda) or len(sublayers(layer)) > 1 or not is_known(type(layer)):
        return None
    functions = {name.removeprefix("_"): value for name, value in vars(layer).items() if is_lambda(value)}
    try:
        with ignored_warnings():  # that functions without a name cannot be loaded from files
            described = serialize(layer)
    except Exception:  # something else that the layer holds cannot be described; the layer is copied all the same
        return None
    config = described["config"]
    if not functions.keys() <= config.keys():
        return None
    named = {argument: f"{layer.name}_{argument}_{id(function)}" for argument, function in functions.items()}
    for argument, function in functions.items():
        custom_objects[named[argument]] = function if argument.endswith("activation") else _returning(function)
    return {key: described[key] for key in _IDENTITY} | {"config": {**config, **named}}


def _returning(function: Any) -> Callable[[], Any]:
    """Return what Keras calls to get an initializer, a regularizer or a constraint by its name."""
    return lambda: function


def is_known(thing: Any) -> bool:
    """Return whether a class or function belongs to a module whose names Keras resolves by itself."""
    modules = _KNOWN_MODULES[:1] if inspect.isfunction(thing) else _KNOWN_MODULES
    module = getattr(thing, "__module__", None) or ""
    return module.startswith(modules) and ".applications." not in module  # whose layers Keras does not list


def is_lambda(value: Any) -> bool:
    """Return whether a value is a function of the user's without a name."""
    return inspect.isfunction(value) and value.__name__ == "<lambda>" and not is_known(value)
