"""Statistics of batch normalization that were never trained: of a new network, of a new part, or after a few steps of training.

In training such layers compute with the statistics of each batch, at inference with numbers that mean nothing. Ranges measured
at inference are of no use then, so that the statistics are measured first, in floating point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from keras_compress._keras import keras
from keras_compress.calibration.batch_norm_adaptation import adapt_batch_norm, adaptable
from keras_compress.data import Dataset
from keras_compress.layers.float_computation import computing_in_float

__all__ = ["measure_untrained_statistics", "put_back_statistics"]

#: Statistics count as near to those of a new layer up to this mean, and this power of two of the variance (medians).
NEAR_MEAN, NEAR_VARIANCE = 0.3, 1.0
#: Those of the data count as far if variances differ by four, or means by a deviation.
FAR_VARIANCE, FAR_MEAN = 2.0, 1.0
#: Share of the numbers that have gone a part of the way from those of a new layer to those of the data, and the longest part.
TOWARDS, PART = 0.8, 0.6

#: Mean and variance of a layer.
Statistics = tuple[np.ndarray, np.ndarray]


def measure_untrained_statistics(
    model: keras.Model, data: Dataset, samples: int
) -> dict[keras.layers.BatchNormalization, Statistics]:
    """Measure, in floating point, the statistics of every batch normalization that were never trained.

    They are all that have the statistics of a new layer; or all of the model, if every one is near to these and has moved
    towards the statistics of the data, and some are still far from them. Frozen layers stay as they are.

    Args:
        model: a built Keras model; statistics are changed in place.
        data: samples.
        samples: how many of them, if there are as many.

    Returns:
        The layers, and the statistics that they had, for :func:`put_back_statistics`.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization(name="norm")])
        >>> [layer.name for layer in measure_untrained_statistics(model, Dataset(np.full((8, 1), 3.0, np.float32)), 8)]
        ['norm']
        >>> model.layers[0].moving_mean.numpy().tolist()
        [3.0]
    """
    layers = adaptable(model)
    present = {layer: _statistics(layer) for layer in layers}
    new = [layer for layer in layers if _is_new(layer)]
    if not new and not all(_is_near_new(*statistics) for statistics in present.values()):
        return {}
    with computing_in_float():
        adapt_batch_norm(model, data, samples, layers=new or layers)
    if new:
        return {layer: present[layer] for layer in new}
    if _have_hardly_begun(list(present.values()), [_statistics(layer) for layer in layers]):
        return present
    put_back_statistics(present)
    return {}


def put_back_statistics(statistics: Mapping[keras.layers.BatchNormalization, Statistics]) -> None:
    """Give layers the statistics that they had."""
    for layer, (mean, variance) in statistics.items():
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)


def _statistics(layer: keras.layers.BatchNormalization) -> Statistics:
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()


def _is_new(layer: keras.layers.BatchNormalization) -> bool:
    """Whether a layer is as it was made. One that another tool has folded has factors and shifts of its own."""
    mean, variance = _statistics(layer)
    parameters = [weight.numpy() for weight in (layer.gamma, layer.beta) if weight is not None]
    return not mean.any() and bool((variance == 1).all()) and all(np.ptp(array) == 0 for array in parameters)


def _is_near_new(mean: np.ndarray, variance: np.ndarray) -> bool:
    return bool(np.median(np.abs(mean)) < NEAR_MEAN and np.median(np.abs(_log(variance))) < NEAR_VARIANCE)


def _have_hardly_begun(present: Sequence[Statistics], of_data: Sequence[Statistics]) -> bool:
    """Whether statistics are on their way from those of new layers to those of the data, and far from the end."""
    if not present:
        return False
    far = [
        np.median(np.abs(_log(variance) - _log(variance_of_data))) > FAR_VARIANCE
        or np.median(np.abs(mean - mean_of_data) / np.sqrt(variance)) > FAR_MEAN
        for (mean, variance), (mean_of_data, variance_of_data) in zip(present, of_data, strict=True)
    ]
    moved, way = (
        np.concatenate([np.r_[mean, variance - 1] for mean, variance in statistics])
        for statistics in (present, of_data)
    )
    part = np.divide(moved, way, out=np.zeros_like(moved), where=way != 0)
    return bool(any(far) and np.mean((part > 0) & (part < PART)) >= TOWARDS)


def _log(variance: np.ndarray) -> np.ndarray:
    return np.log2(np.maximum(variance, 1e-12))
