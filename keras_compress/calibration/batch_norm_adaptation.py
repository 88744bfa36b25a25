"""Adaptation of batch normalization: moving statistics are measured again on the compressed model.

Compression shifts the statistics of activations; measuring them again before fine-tuning can recover accuracy
without training. Frozen batch normalization (``trainable=False``) is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tensorflow as tf
from pydantic import Field
from tqdm import tqdm

from keras_compress._keras import flat_layers, keras
from keras_compress.calibration.traced_model import TracedModel
from keras_compress.data import Dataset
from keras_compress.settings import Settings

__all__ = ["BatchNormAdaptation", "adapt_batch_norm"]

ADAPTATION_BATCH = 128


class BatchNormAdaptation(Settings):
    """When batch normalization is adapted, and on how much."""

    num_bn_adaptation_samples: int = Field(2000, ge=0)
    """Samples of the registered data; 0 for none. Default 2000."""
    on_level_change: bool = False
    """Adapt again whenever a schedule changes a level between epochs. Default False."""


def adapt_batch_norm(model: keras.Model, data: Dataset, samples: int) -> None:
    """Set the moving mean and variance of every batch normalization to those of the data.

    The statistics of batches of 128 are averaged. Only full batches count, unless there is no full one; the rest of the
    model runs in inference mode. Batch normalization with ``trainable=False`` stays as it is.

    Args:
        model: a built Keras model; its statistics are changed in place.
        data: samples.
        samples: how many of them, if there are as many; 0 for none.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()])
        >>> adapt_batch_norm(model, Dataset(np.full((8, 1), 3.0, np.float32)), samples=8)
        >>> model.layers[0].moving_mean.numpy().tolist()
        [3.0]

    Source: Kozlov et al. 2020, arXiv:2002.08679, section 4; Sun et al. 2019, arXiv:1902.01917.
    """
    layers = [
        layer for layer in flat_layers(model) if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not layers or samples == 0:
        return
    sums: list[list[np.ndarray]] = []
    with (
        _batch_statistics(layers),
        tqdm(total=samples, desc="batch norm adaptation", unit="sample", leave=False, disable=None) as bar,
    ):
        traced = TracedModel(model, lambda inputs: model(inputs, training=False))
        for batch in traced.batches(data, ADAPTATION_BATCH, samples):
            if sums and batch.samples < ADAPTATION_BATCH:
                break
            traced([array[: batch.samples] for array in batch.inputs])
            sums.append([variable.numpy() for layer in layers for variable in _statistics(layer)])
            bar.update(batch.samples)
    means = [np.mean(values, axis=0) for values in zip(*sums, strict=True)]
    for variable, mean in zip((v for layer in layers for v in _statistics(layer)), means, strict=True):
        variable.assign(mean)


def _statistics(layer: keras.layers.BatchNormalization) -> tuple[tf.Variable, tf.Variable]:
    return layer.moving_mean, layer.moving_variance


@contextmanager
def _batch_statistics(layers: list) -> Iterator[None]:
    """Make batch normalization store the statistics of the current batch (momentum 0), whatever mode the model runs in."""
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0
            layer.call = _in_training_mode(layer.call)
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            del layer.__dict__["call"]


def _in_training_mode(call):
    def training_call(inputs, *args, **kwargs):
        kwargs["training"] = True
        return call(inputs, *args, **kwargs)

    return training_call
