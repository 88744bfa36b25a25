"""followed_end: ranges of activations keep up with values that grow faster than an optimizer moves a range.

In a network that has just begun to learn values may double within a few steps, while Adam moves a range by no more than its
learning rate. What lies beyond a range gets no gradient, and the layers before it learn nothing there.
"""

from __future__ import annotations

import tensorflow as tf

__all__ = ["grown", "share_allowed", "some_samples"]

#: Share of values beyond an end of an 8-bit range that is nothing to worry about: outliers, and what a user left out.
SHARE = 0.02
#: How many samples are looked at: these at least, and as many as have so many values.
SAMPLES, VALUES = 8, 4096


def share_allowed(num_bits: int) -> float:
    """Return the share of values that may lie beyond an end: the fewer the levels, the more pays to be cut off.

    Example:
        >>> share_allowed(8), share_allowed(4)
        (0.02, 0.08)
    """
    return SHARE * 2 ** ((8 - num_bits) / 2)


def some_samples(values: tf.Tensor) -> tf.Tensor:
    """Return the first samples of a batch, enough of them to estimate a share."""
    each = values.shape[1:].num_elements()
    return values[: max(SAMPLES, VALUES // each if each else SAMPLES)]


def grown(width: tf.Tensor, beyond: tf.Tensor, num_bits: int) -> tf.Tensor:
    """Return by how much an end moves outwards: by the share of values beyond it, of the width, if that share is too large.

    Args:
        width: of the range, a scalar.
        beyond: bool for every value.
        num_bits: bits of the grid.

    Example:
        >>> float(grown(tf.constant(2.0), tf.constant([True, False]), num_bits=8))
        1.0
    """
    share = tf.reduce_mean(tf.cast(beyond, tf.float32))
    return tf.where(share > share_allowed(num_bits), share * width, 0.0)
