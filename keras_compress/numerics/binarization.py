"""Two-valued weights and activations with straight-through gradients."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["binarize", "binary_scale", "binary_threshold"]


def binary_scale(weight, axes):
    """Return the mean magnitude over ``axes``, kept with size one: the factor of a binary weight.

    Example:
        >>> binary_scale(tf.constant([[1.0, -3.0], [2.0, 2.0]]), axes=[1]).numpy().tolist()
        [[2.0], [2.0]]

    Source: Rastegari et al. 2016, arXiv:1603.05279.
    """
    return tf.reduce_mean(tf.abs(weight), axes, keepdims=True)


def binarize(weight, axes):
    """Return ``mean(|w|) * sign(w)``, the mean taken over ``axes`` and ``sign(w) = 1 if w > 0 else -1``.

    Gradient: identity to ``weight``.

    Args:
        weight: float32 tensor.
        axes: all but the axis of the output channels for XNOR-Net's weights, all axes for DoReFa's.

    Example:
        >>> binarize(tf.constant([[1.0, -3.0], [0.0, 4.0]]), axes=[1]).numpy().tolist()
        [[2.0, -2.0], [-2.0, 2.0]]

    Source: Rastegari et al. 2016, arXiv:1603.05279; Zhou et al. 2016, arXiv:1606.06160.
    """

    @tf.custom_gradient
    def binary(values):
        scale = binary_scale(values, axes)
        return tf.where(values > 0.0, scale, -scale), lambda upstream: upstream

    return binary(weight)


@tf.custom_gradient
def binary_threshold(x, scale, thresholds):
    """Return ``scale`` where ``x`` is above ``scale * thresholds`` and 0 elsewhere.

    Gradient::

        d out / d x          = 1 where 0 <= x <= scale, else 0
        d out / d scale      = (out - x) / scale where x <= scale, 1 above
        d out / d thresholds = -1 where 0 < x < scale, else 0

    Args:
        x: float32 tensor, channels last.
        scale: float32 scalar above 0, in the unit of ``x``.
        thresholds: float32 tensor with one value per channel, in (0, 1).

    Example:
        >>> binary_threshold(tf.constant([0.2, 0.6, 3.0]), tf.constant(1.0), tf.constant(0.5)).numpy().tolist()
        [0.0, 1.0, 1.0]

    Source: Kozlov et al. 2020, arXiv:2002.08679, section 4.2.
    """
    out = tf.where(x > scale * thresholds, scale, 0.0)

    def gradient(upstream):
        inside = tf.cast((x >= 0.0) & (x <= scale), upstream.dtype)
        d_scale = tf.reduce_sum(upstream * tf.where(x <= scale, (out - x) / scale, 1.0))
        others = list(range(x.shape.rank - thresholds.shape.rank))
        d_thresholds = -tf.reduce_sum(upstream * tf.cast((x > 0.0) & (x < scale), upstream.dtype), others)
        return upstream * inside, d_scale, d_thresholds

    return out, gradient
