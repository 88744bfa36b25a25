"""Masks and stochastic gates with straight-through gradients."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["apply_mask", "hard_gates", "sample_gates", "scale_gradient"]


@tf.custom_gradient
def apply_mask(x, mask):
    """Return ``x`` where ``mask`` is true, and zero elsewhere.

    Gradient (straight-through): identity to ``x``, also where it is masked, so that a masked weight goes on learning
    and can come back when the mask is computed again. None to ``mask``.

    Args:
        x: tensor of any shape and floating type.
        mask: bool tensor of the same shape.

    Example:
        >>> apply_mask(tf.constant([1.0, 2.0]), tf.constant([True, False])).numpy().tolist()
        [1.0, 0.0]

    Source: Zhu and Gupta 2017, arXiv:1710.01878; gradient as in Guo et al. 2016, arXiv:1608.04493.
    """

    def gradient(upstream):
        return upstream, None

    return tf.where(mask, x, tf.zeros([], x.dtype)), gradient


@tf.custom_gradient
def sample_gates(logits, uniform):
    """Return gates that are 1 with the probability ``sigmoid(logits)`` and else 0.

    Forward, with ``q = sigmoid(logits + log(u) - log(1 - u))``: ``1 if q > 0.5 else 0``.

    Gradient (the threshold passes gradients unchanged): ``q * (1 - q)`` to ``logits``, none to ``uniform``.

    Args:
        logits: float32 tensor of any shape.
        uniform: float32 tensor of the same shape, drawn uniformly from [0, 1).

    Example:
        >>> sample_gates(tf.constant([0.0, 0.0, 9.0]), tf.constant([0.4, 0.6, 0.4])).numpy().tolist()
        [0.0, 1.0, 1.0]

    Source: Kozlov et al. 2020, arXiv:2002.08679, section 4.3; Louizos et al. 2018, arXiv:1712.01312.
    """
    q = tf.sigmoid(logits + tf.math.log(uniform) - tf.math.log1p(-uniform))

    def gradient(upstream):
        return upstream * q * (1.0 - q), None

    return tf.cast(q > 0.5, logits.dtype), gradient


@tf.custom_gradient
def hard_gates(logits):
    """Return 1 where ``logits`` is above 0 and else 0: the gates without chance.

    Gradient (the threshold passes gradients unchanged): that of ``sigmoid(logits)``.

    Example:
        >>> hard_gates(tf.constant([-1.0, 0.0, 2.0])).numpy().tolist()
        [0.0, 0.0, 1.0]
    """
    q = tf.sigmoid(logits)

    def gradient(upstream):
        return upstream * q * (1.0 - q)

    return tf.cast(logits > 0.0, logits.dtype), gradient


def scale_gradient(x, pace: float, gradient_scale: float):
    """Return ``pace * x``, a reparametrization with a gradient of its own: ``d out / d x = gradient_scale``.

    An optimizer whose steps do not depend on the size of the gradient, as Adam, moves the result ``pace`` times as far
    as ``x``; for the others ``gradient_scale`` sets the pace.

    Args:
        x: float32 tensor of any shape.
        pace: factor of the result.
        gradient_scale: factor of the gradient.

    Example:
        >>> float(scale_gradient(tf.constant(2.0), pace=10.0, gradient_scale=3.0))
        20.0
    """

    @tf.custom_gradient
    def scaled(values):
        return pace * values, lambda upstream: gradient_scale * upstream

    return scaled(tf.convert_to_tensor(x))
