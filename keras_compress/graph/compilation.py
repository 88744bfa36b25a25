"""Copying the compilation of a model: same loss, metrics and settings, and an optimizer that starts afresh."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_compress._keras import fresh_optimizer, keras, metric_prefixes
from keras_compress.graph.serialization import live_copy

__all__ = ["copy_compilation"]


def copy_compilation(source: keras.Model, target: keras.Model) -> None:
    """Compile ``target`` as ``source`` is compiled; does nothing if it is not.

    Losses are shared, because they have no state; metrics and the optimizer are created again from their configuration.
    Metrics get the names that they were made with, whether the source has been trained or not.
    """
    compilation = getattr(source, "_compile_config", None)
    if compilation is None:
        return
    arguments = {key: value for key, value in compilation.config.items() if value is not None}
    prefixes = metric_prefixes(source)
    for key in ("optimizer", "metrics", "weighted_metrics"):
        if key in arguments:
            arguments[key] = tf.nest.map_structure(lambda thing: _fresh(thing, prefixes), arguments[key])
    try:
        target.compile(**arguments)
    except Exception as error:  # a compile() of the user's own may raise anything
        warnings.warn(
            f"The compressed model is not compiled, because its class compiles in its own way: {error}. Call "
            "compressed_model.compile(...) yourself.",
            stacklevel=3,
        )


def _fresh(thing: Any, prefixes: Mapping[int, str]) -> Any:
    """Return a new object of the same settings; names and functions are returned as they are.

    Args:
        thing: an optimizer, a metric, or the name or function of one.
        prefixes: what Keras put in front of the name of a metric, by the identity of the metric.
    """
    if isinstance(thing, (keras.optimizers.Optimizer, keras.optimizers.legacy.Optimizer)):
        return fresh_optimizer(thing)
    if not isinstance(thing, keras.metrics.Metric):
        return thing
    metric = _from_configuration(thing)
    if metric is None:
        metric = live_copy().of_value(thing)
        metric.reset_state()
    metric._name = thing.name.removeprefix(prefixes.get(id(thing), ""))
    return metric


def _from_configuration(metric: keras.metrics.Metric) -> keras.metrics.Metric | None:
    """Return a metric that is made from the configuration of another, None if there is no way."""
    try:
        return type(metric).from_config(metric.get_config())
    except Exception:  # whatever the user's code raises, the answer is no
        return None
