"""The linear part of a layer of Keras: what it makes of its input without bias and activation function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

import tensorflow as tf

from keras_compress._keras import converted, keras

__all__ = ["hooked_calls", "linear_part", "mean_over_positions"]


def linear_part(layer: keras.layers.Layer, inputs: tf.Tensor, kernel: tf.Tensor, weight: str) -> tf.Tensor:
    """Return what a convolution or dense layer makes of ``inputs`` with ``kernel`` in place of the weight ``weight``.

    It is computed in the type of ``inputs``, which is that of ``kernel`` too, whatever the policy of the layer.
    """
    replaced = {weight: kernel, "use_bias": False, "bias": None, "activation": keras.activations.linear}
    replaced["_compute_dtype_object"] = inputs.dtype.base_dtype
    with _attributes(layer, {name: value for name, value in replaced.items() if name in vars(layer)}):
        return type(layer).call(layer, inputs)


@contextmanager
def hooked_calls(hooks: Mapping[keras.layers.Layer, Callable[..., Any]]) -> Iterator[None]:
    """Let ``hooks[layer](call, inputs, …)`` stand for ``layer.call(inputs, …)`` while the context lasts."""
    try:
        for layer, hook in hooks.items():
            layer.call = _hooked(layer.call, hook)
        yield
    finally:
        for layer in hooks:
            layer.__dict__.pop("call", None)


def _hooked(call: Callable, hook: Callable[..., Any]) -> Callable:
    @tf.autograph.experimental.do_not_convert
    @wraps(call)
    def hooked_call(*inputs, **arguments):
        return hook(converted(call), *inputs, **arguments)

    return hooked_call


@contextmanager
def _attributes(layer: keras.layers.Layer, values: Mapping[str, Any]) -> Iterator[None]:
    """Give a layer other attributes for a while, past ``setattr``, which would make Keras track them."""
    originals = {name: vars(layer)[name] for name in values}
    try:
        vars(layer).update(values)
        yield
    finally:
        vars(layer).update(originals)


def mean_over_positions(layer: keras.layers.Layer, outputs: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Return the mean of what a layer makes, over the samples and over all positions that share a bias of ``shape``."""
    if getattr(layer, "data_format", None) == "channels_first" and shape.rank == 1:
        outputs = tf.experimental.numpy.moveaxis(outputs, 1, -1)
    mean = tf.reduce_mean(tf.cast(outputs, tf.float32), tf.range(tf.rank(outputs) - shape.rank))
    shared = [axis for axis, size in enumerate(shape) if size == 1]
    return tf.reduce_mean(mean, shared, keepdims=True) if shared else mean
