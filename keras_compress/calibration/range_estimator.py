"""What a range estimator is: from values seen in batches to the low and high end of a range.

An estimator sees tensors arranged as ``(samples, values, channels)``, keeps its statistics in variables on the device,
and uses the same memory however many samples it sees. Sums are kept in float64 and counts as integers, so that the
order of the samples does not change the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import tensorflow as tf

from keras_compress.errors import ConfigError
from keras_compress.layers import FakeQuantize

__all__ = ["RangeEstimator"]


class RangeEstimator(ABC):
    """Base of the estimators.

    Args:
        channels: how many ranges are estimated side by side.
        low_percentile, high_percentile: percentiles in [0, 100], for the estimators that use them.
        quantizer: what the range is for. The estimators that look at its grid raise a ConfigError without it.

    Attributes:
        needs_grid: whether the estimator looks at the grid of the quantizer.
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

    def usable_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Return :meth:`range`, widened where it would hold nothing but zero."""
        return self.range()
