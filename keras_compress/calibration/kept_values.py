"""Range estimators of weights, which are few enough to be kept as they are."""

from __future__ import annotations

import numpy as np

from keras_compress.calibration.range_estimator import RangeEstimator

__all__ = ["KeptValues"]


class KeptValues(RangeEstimator):
    """Base of the estimators that keep the values themselves; for eager use only.

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
