"""Quantizers, random values and what a quantizer makes of them, in NumPy: for the tests of ranges that fit a grid."""

import numpy as np
import tensorflow as tf

from keras_compress.layers import AsymmetricFakeQuantize, SymmetricFakeQuantize
from keras_compress.numerics import symmetric_bounds

QUANTIZERS = {
    "weights": lambda bits, axes=None: SymmetricFakeQuantize(bits, narrow_range=True, channel_axes=axes),
    "symmetric": lambda bits, axes=None: SymmetricFakeQuantize(bits, channel_axes=axes),
    "asymmetric": lambda bits, axes=None: AsymmetricFakeQuantize(bits, channel_axes=axes),
}


def with_outlier(values):
    values[len(values) // 2] = 20.0
    return values


VALUES = {
    "normal": lambda generator, size: generator.normal(size=size),
    "laplace": lambda generator, size: generator.laplace(size=size),
    "rectified": lambda generator, size: np.maximum(generator.normal(size=size), 0),
    "uniform": lambda generator, size: generator.uniform(-1, 3, size),
    "skewed": lambda generator, size: np.exp(generator.normal(size=size)) - 0.3,
    "outlier": lambda generator, size: with_outlier(generator.normal(size=size)),
}


def random_values(kind, size, seed=0):
    """Return float32 values of shape ``(size,)``."""
    return VALUES[kind](np.random.default_rng(seed), size).astype(np.float32)


def found(estimator_class, quantizer, values, batches=1):
    """Return the range that an estimator finds for values of shape ``(values,)`` or ``(values, channels)``."""
    values = values.reshape(len(values), -1)
    estimator = estimator_class(values.shape[1], quantizer=quantizer)
    for batch in np.split(values, batches):
        estimator.update(tf.constant(batch[np.newaxis]))
    low, high = estimator.usable_range()
    assert low.dtype == high.dtype == np.float32
    assert low.shape == high.shape == values.shape[1:]
    return low, high


def grid(kind, bits, low, high):
    """Return the step of the grid over measured extremes, and its lowest and highest integer."""
    low, high = float(low), float(high)
    if kind == "asymmetric":
        steps = 2**bits - 1
        low, high = min(low, 0.0), max(high, 0.0)
        offset = round(-low / (high - low) * steps)
        if offset in (0, steps):
            return (high - low) / steps, -offset, steps - offset
        return max(-low / offset, high / (steps - offset)), -offset, steps - offset  # one end moves outwards
    smallest, largest = symmetric_bounds(bits, signed=kind == "weights" or low < 0, narrow_range=kind == "weights")
    return max(abs(low), abs(high)) / largest, smallest, largest


def squared_error(kind, bits, values, low, high):
    """Return the mean squared error of quantization with the range that measured extremes lead to."""
    step, smallest, largest = grid(kind, bits, low, high)
    values = values.astype(np.float64)
    return np.mean((values - step * np.clip(np.round(values / step), smallest, largest)) ** 2)
