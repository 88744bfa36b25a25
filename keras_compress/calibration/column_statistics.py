"""What is measured of the columns, the last axis, of tensors during a pass over data: extremes, mean and deviation.

Each is a variable that a traced graph updates. What the numbers mean is up to those who read them.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

__all__ = ["ColumnExtremes", "ColumnMoments"]

#: Whole numbers that reach this far are taken for the pixels of an image file.
LARGE_PIXEL = 128


class ColumnExtremes:
    """The least and the greatest value of every column, the last axis, of the tensors a layer is called on.

    Args:
        width: how many columns.
        pixels: also look whether all values are whole numbers.
    """

    def __init__(self, width: int, *, pixels: bool = False):
        self.width = width
        self._low = tf.Variable(tf.fill([width], np.float32(np.inf)), trainable=False)
        self._high = tf.Variable(tf.fill([width], np.float32(-np.inf)), trainable=False)
        self._whole = tf.Variable(True, trainable=False) if pixels else None

    def add(self, values: tf.Tensor) -> None:
        self._low.assign(tf.minimum(self._low, tf.reduce_min(values, axis=0)))
        self._high.assign(tf.maximum(self._high, tf.reduce_max(values, axis=0)))
        if self._whole is not None:
            self._whole.assign(tf.logical_and(self._whole, tf.reduce_all(tf.equal(values, tf.round(values)))))

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        return self._low.numpy(), self._high.numpy()

    def range(self) -> tuple[float, float]:
        """Return the least and the greatest of all values."""
        return float(self._low.numpy().min()), float(self._high.numpy().max())

    def are_pixels(self) -> bool:
        """Whether all values are whole numbers from 0 to 255, and some of them large."""
        low, high = self.range()
        whole = self._whole is not None and bool(self._whole.numpy())
        return whole and self.width in (1, 3, 4) and low >= 0 and LARGE_PIXEL <= high <= 255


class ColumnMoments:
    """Mean and standard deviation of every column, the last axis, of the tensors a layer is called on.

    A batch is summed in float32, about its own mean, and batches are put together in float64.
    """

    def __init__(self, width: int):
        self._sums = tf.Variable(tf.zeros([2, width], tf.float64), trainable=False)
        self._count = tf.Variable(0.0, dtype=tf.float64, trainable=False)

    def add(self, values: tf.Tensor) -> None:
        count = tf.shape(values)[0]
        mean = tf.reduce_sum(values, axis=0) / tf.cast(tf.maximum(count, 1), tf.float32)
        square = tf.reduce_sum(tf.math.squared_difference(values, mean), axis=0)
        mean, square, count = (tf.cast(tensor, tf.float64) for tensor in (mean, square, count))
        self._sums.assign_add(tf.stack([count * mean, square + count * mean**2]))
        self._count.assign_add(count)

    def numpy(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation."""
        mean, square = self._sums.numpy() / max(self._count.numpy(), 1.0)
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0))
