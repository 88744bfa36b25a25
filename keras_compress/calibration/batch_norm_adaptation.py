"""Adaptation of batch normalization: moving statistics are measured again on the compressed model.

Compression shifts the statistics of activations; measuring them anew before fine-tuning recovers accuracy without
training. Frozen batch normalization (``trainable=False``) is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tensorflow as tf
from pydantic import Field
from tqdm import tqdm

from keras_compress._keras import keras
from keras_compress.calibration.traced_model import TracedModel
from keras_compress.data import Dataset
from keras_compress.settings import Settings

__all__ = ["BatchNormAdaptation", "adapt_batch_norm"]

ADAPTATION_BATCH = 128


class BatchNormAdaptation(Settings):
    """When batch normalization is adapted, and on how much.

    Attributes:
        num_bn_adaptation_samples: samples of the registered data; 0 for none. Default 2000.
        on_level_change: adapt again whenever a schedule changes a level between epochs. Default False.
    """

    num_bn_adaptation_samples: int = Field(2000, ge=0)
    on_level_change: bool = False


def adapt_batch_norm(model: keras.Model, data: Dataset, samples: int) -> None:
    """Set the moving mean and variance of every batch normalization to those of up to ``samples`` samples.

    The statistics of batches of 128 are averaged. Only full batches count, unless there is no full one; the rest of the
    model runs in inference mode.
    """
    layers = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not layers or samples == 0:
        return
    sums: list[list[np.ndarray]] = []
    with (
        _measuring(layers),
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
def _measuring(layers: list) -> Iterator[None]:
    """Make batch normalization write the statistics of the current batch, whatever mode the model runs in."""
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
