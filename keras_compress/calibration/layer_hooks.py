"""Functions that are called in place of the calls of layers, for as long as a context lasts, in the thread that asked for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress._threads import WEIGHTS
from keras_compress._tracing import autograph_converted, inferring_shapes

__all__ = ["hooked_calls", "is_hooked"]


@contextmanager
def hooked_calls(hooks: Mapping[keras.layers.Layer, Callable[..., Any]]) -> Iterator[None]:
    """Call ``hooks[layer](call, inputs, …)`` in place of ``layer.call(inputs, …)`` while the context lasts.

    Calls by other threads are not seen, and work as ever; calls that only infer shapes go past the hooks. Where a layer has
    several hooks, the last one is called first.

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
    thread, added = threading.get_ident(), []
    try:
        for layer, hook in hooks.items():
            with WEIGHTS:
                if not is_hooked(vars(layer).get("call")):
                    layer.call = _hooked(layer.call, vars(layer).get("call"))
                layer.call.hooks.setdefault(thread, []).append(hook)
            added.append(layer)
        yield
    finally:
        for layer in added:
            with WEIGHTS:
                _remove_hook(layer, thread)


def is_hooked(call: Any) -> bool:
    """Return whether the ``call`` of a layer is one that :func:`hooked_calls` has put there, which calls hooks."""
    return hasattr(call, "hooks") and hasattr(call, "own_call")


def _remove_hook(layer: keras.layers.Layer, thread: int) -> None:
    """Take the last hook of a thread from a layer, and with the last of all what called it."""
    hooked = vars(layer)["call"]
    hooked.hooks[thread].pop()
    if not hooked.hooks[thread]:
        del hooked.hooks[thread]
    if not hooked.hooks:
        del vars(layer)["call"]
        if hooked.own_call is not None:
            vars(layer)["call"] = hooked.own_call


def _hooked(call: Callable, own_call: Callable | None) -> Callable:
    """Return what calls the hooks of the present thread around ``call``.

    Args:
        call: of the layer.
        own_call: the attribute of the layer itself, None where its class has the ``call``.
    """
    hooks: dict[int, list[Callable[..., Any]]] = {}

    @tf.autograph.experimental.do_not_convert
    @wraps(call)
    def hooked_call(*inputs, **arguments):
        own = () if inferring_shapes() else hooks.get(threading.get_ident(), ())
        converted = call if tf.executing_eagerly() else autograph_converted(call)
        for hook in own:
            converted = partial(hook, converted)
        return converted(*inputs, **arguments)

    hooked_call.hooks, hooked_call.own_call = hooks, own_call
    return hooked_call
