"""Functions that are called in place of the calls of layers, for as long as a context lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

import tensorflow as tf

from keras_compress._keras import autograph_converted, inferring_shapes, keras

__all__ = ["hooked_calls"]


@contextmanager
def hooked_calls(hooks: Mapping[keras.layers.Layer, Callable[..., Any]]) -> Iterator[None]:
    """Call ``hooks[layer](call, inputs, …)`` in place of ``layer.call(inputs, …)`` while the context lasts.

    Calls that only infer shapes go past the hooks.

    Args:
        hooks: for each layer a function of the original ``call`` and its arguments.

    Example:
        >>> layer = keras.layers.Dense(1)
        >>> seen = []
        >>> with hooked_calls({layer: lambda call, inputs: (seen.append(inputs.shape), call(inputs))[1]}):
        ...     layer(tf.ones((2, 3))).shape
        TensorShape([2, 1])
        >>> seen
        [TensorShape([2, 3])]
    """
    own = {layer: vars(layer)["call"] for layer in hooks if "call" in vars(layer)}  # layers of operators have one
    try:
        for layer, hook in hooks.items():
            layer.call = _hooked(layer.call, hook)
        yield
    finally:
        for layer in hooks:
            vars(layer).pop("call", None)
            if layer in own:
                vars(layer)["call"] = own[layer]


def _hooked(call: Callable, hook: Callable[..., Any]) -> Callable:
    @tf.autograph.experimental.do_not_convert
    @wraps(call)
    def hooked_call(*inputs, **arguments):
        converted = autograph_converted(call)
        return converted(*inputs, **arguments) if inferring_shapes() else hook(converted, *inputs, **arguments)

    return hooked_call
