"""The pre-activation of a linear layer: its output without bias and activation function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from keras_compress._keras import compute_type_attribute, keras
from keras_compress._threads import WEIGHTS
from keras_compress.errors import UnsupportedModelError

__all__ = ["mean_over_positions", "pre_activation"]


def pre_activation(layer: keras.layers.Layer, inputs: tf.Tensor, kernel: tf.Tensor, weight: str) -> tf.Tensor:
    """Return the product of the inputs of a linear layer and a kernel, as the layer computes it.

    It is computed in the type of ``inputs``, which is that of ``kernel`` too, whatever the policy of the layer.

    Args:
        layer: a layer whose row in the table says ``linear``.
        inputs: what the layer is called on.
        kernel: takes the place of the weight of the layer.
        weight: the attribute that holds this weight.
    """
    if weight not in vars(layer):
        raise UnsupportedModelError(
            f"Layer '{layer.name}' of class {type(layer).__name__} is registered as linear, and keeps no attribute "
            f"'{weight}' of its own. Expected: 'call' reads the weight from 'self.{weight}'. Register it without 'linear'."
        )
    replaced = {weight: kernel, "use_bias": False, "activation": keras.activations.linear}
    if getattr(layer, "bias", None) is not None:
        replaced["bias"] = tf.zeros(layer.bias.shape, inputs.dtype)
    replaced[compute_type_attribute] = inputs.dtype.base_dtype
    with _attributes(layer, {name: value for name, value in replaced.items() if name in vars(layer)}):
        return type(layer).call(layer, inputs)


@contextmanager
def _attributes(layer: keras.layers.Layer, values: Mapping[str, Any]) -> Iterator[None]:
    """Give a layer other attributes for a while, past ``setattr``, which would make Keras track them."""
    with WEIGHTS:
        originals = {name: vars(layer)[name] for name in values}
        try:
            vars(layer).update(values)
            yield
        finally:
            vars(layer).update(originals)


def mean_over_positions(layer: keras.layers.Layer, outputs: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Return the mean of a layer's outputs over the samples and over all positions that share a bias.

    Args:
        layer: a linear layer.
        outputs: its outputs, of any float type.
        shape: of its bias.

    Returns:
        A float32 tensor of ``shape``.

    Example:
        >>> outputs = tf.constant([[[1.0, 10.0], [3.0, 30.0]]])  # one sample, two positions, two channels
        >>> mean_over_positions(keras.layers.Conv1D(2, 1), outputs, tf.TensorShape([2])).numpy().tolist()
        [2.0, 20.0]
    """
    if getattr(layer, "data_format", None) == "channels_first" and shape.rank == 1:
        outputs = tf.experimental.numpy.moveaxis(outputs, 1, -1)
    mean = tf.reduce_mean(tf.cast(outputs, tf.float32), tf.range(tf.rank(outputs) - shape.rank))
    shared = [axis for axis, size in enumerate(shape) if size == 1]
    return tf.reduce_mean(mean, shared, keepdims=True) if shared else mean
