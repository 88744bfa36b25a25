"""What a range estimator is: from values seen in batches to the low and high end of a range.

An estimator sees tensors arranged as ``(samples, values, channels)``, keeps its statistics in variables on the device,
and uses the same memory however many samples it sees. :mod:`~keras_compress.calibration.range_measurement` feeds it.
Sums are kept in float64 and counts as integers, so that the order of the samples does not change the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import tensorflow as tf

from keras_compress.errors import ConfigError
from keras_compress.layers import FakeQuantize

__all__ = ["ExactEstimator", "RangeEstimator"]


class RangeEstimator(ABC):
    """Base of the range estimators: from values seen in batches to the low and high end of a range.

    Args:
        channels: how many ranges are estimated side by side.
        low_percentile, high_percentile: percentiles in [0, 100], for the estimators that use them. Default 0.1 and
            99.9.
        quantizer: what the range is for. Default None.

    Attributes:
        needs_grid: whether the estimator depends on the grid of the quantizer.

    Raises:
        ConfigError: the estimator needs a grid, and there is no quantizer.
    """

    needs_grid: ClassVar[bool] = False
    quantizer: FakeQuantize

    def __init__(
        self,
        channels: int,
        low_percentile: float = 0.1,
        high_percentile: float = 99.9,
        quantizer: FakeQuantize | None = None,
    ):
        self.channels = channels
        self.percentiles = (low_percentile, high_percentile)
        if quantizer is not None:
            self.quantizer = quantizer
        elif self.needs_grid:
            raise ConfigError(
                f"{type(self).__name__} looks for the range whose grid fits the values best. Expected: a quantizer. "
                "Received: an operation that has no grid. Choose another range type, for example 'percentile'."
            )

    @abstractmethod
    def update(self, values: tf.Tensor) -> None:
        """Take in float32 values of shape ``(samples, values, channels)``."""

    @abstractmethod
    def range(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the low and the high end, each float32 of shape ``(channels,)``."""

    def other_range(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return another range that may serve better, None if there is none; which one does has to be seen."""
        return None

    def usable_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Return :meth:`range`; estimators whose range may hold nothing but zero widen it here."""
        return self.range()


class ExactEstimator(RangeEstimator):
    """Base of the estimators of weights, which keep the values themselves; for eager use only.

    Attributes:
        values: float32 array of shape ``(channels, values)``, the values of a channel side by side in memory.
    """

    def __init__(self, channels: int, **settings):
        super().__init__(channels, **settings)
        self.values = np.zeros((channels, 0), np.float32)

    def update(self, values):
        new = np.ascontiguousarray(values.numpy().reshape(-1, self.channels).T)
        self.values = np.concatenate([self.values, new], axis=1) if self.values.size else new

    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and the largest value of each channel."""
        return self.values.min(axis=1), self.values.max(axis=1)
