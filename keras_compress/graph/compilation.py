"""Copying the compilation of a model: same loss, metrics and settings, and an optimizer that starts afresh."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_compress._keras import keras

__all__ = ["copy_compilation"]


def copy_compilation(source: keras.Model, target: keras.Model) -> None:
    """Compile ``target`` as ``source`` is compiled; does nothing if it is not.

    Losses are shared, because they have no state; metrics and the optimizer are made anew from their configuration.
    """
    compilation = getattr(source, "_compile_config", None)
    if compilation is None:
        return
    arguments = {key: value for key, value in compilation.config.items() if value is not None}
    for key in ("optimizer", "metrics", "weighted_metrics"):
        if key in arguments:
            arguments[key] = tf.nest.map_structure(_fresh, arguments[key])
    target.compile(**arguments)


def _fresh(thing: Any) -> Any:
    """Return a new object of the same settings; names and functions are returned as they are."""
    if isinstance(thing, (keras.metrics.Metric, keras.optimizers.Optimizer, keras.optimizers.legacy.Optimizer)):
        return type(thing).from_config(thing.get_config())
    return thing
