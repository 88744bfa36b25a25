"""Adaptation of batch normalization: moving statistics are measured again on the compressed model.

Compression shifts the statistics of activations; measuring them again before fine-tuning can recover accuracy
without training. Frozen batch normalization (``trainable=False``) is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
from pydantic import Field
from tqdm import tqdm

from keras_compress._keras import flat_layers, keras
from keras_compress._threads import WEIGHTS
from keras_compress.calibration.layer_hooks import hooked_calls
from keras_compress.calibration.model_function import ModelFunction, runs_over
from keras_compress.calibration.model_states import fresh_states
from keras_compress.data import Batch, Dataset
from keras_compress.settings import Settings

__all__ = ["BatchNormAdaptation", "adapt_batch_norm", "adaptable"]

ADAPTATION_BATCH = 128


class BatchNormAdaptation(Settings):
    """When batch normalization is adapted, and on how much."""

    num_bn_adaptation_samples: int = Field(2000, ge=0)
    """Samples of the registered data; 0 for none. If it is written down, it is carried out. Default: tried on 2000 where the
    outputs are far from those in floating point (below 30 dB), and kept where it brings them nearer."""
    on_level_change: bool = False
    """Adapt again whenever a schedule changes a level between epochs. Default False."""


def adaptable(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return every batch normalization of a model whose statistics may change: those that are not frozen."""
    kinds = keras.layers.BatchNormalization
    return [layer for layer in flat_layers(model) if isinstance(layer, kinds) and layer.trainable]


def adapt_batch_norm(
    model: keras.Model,
    data: Dataset,
    samples: int,
    *,
    layers: Sequence[keras.layers.BatchNormalization] | None = None,
    leave_out: range = range(0),
) -> None:
    """Set the moving mean and variance of every batch normalization to those of the data.

    The statistics of batches of 128 are averaged. Only full batches count, unless there is no full one; the rest of the
    model runs in inference mode. Batch normalization with ``trainable=False`` stays as it is. Where a model fixes a
    smaller batch, the statistics of as many batches as make 128 samples are joined first.

    Args:
        model: a built Keras model; its statistics are changed in place.
        data: samples.
        samples: how many of them, if there are as many; 0 for none.
        layers: those to adapt. Default: all that are not frozen.
        leave_out: positions of samples that do not count. Default: none.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()])
        >>> adapt_batch_norm(model, Dataset(np.full((8, 1), 3.0, np.float32)), samples=8)
        >>> model.layers[0].moving_mean.numpy().tolist()
        [3.0]

    Source: Kozlov et al. 2020, arXiv:2002.08679, section 4; Sun et al. 2019, arXiv:1902.01917.
    """
    layers = adaptable(model) if layers is None else layers
    if not layers or samples == 0:
        return
    found: list[_Moments] = []
    with (
        _batch_statistics(layers),
        fresh_states(model),
        tqdm(total=samples, desc="batch norm adaptation", unit="sample", leave=False, disable=None) as bar,
    ):
        runs = runs_over(model, ADAPTATION_BATCH, samples)
        run = ModelFunction(model, lambda inputs: model(inputs, training=False), runs=runs)
        for batch in run.batches(data, ADAPTATION_BATCH, samples, leave_out):
            size = len(batch.inputs[0])
            if found and batch.samples < size:
                break
            run(_without_filling(batch, run.rows(batch)))
            found.append([(layer.moving_mean.numpy(), layer.moving_variance.numpy()) for layer in layers])
            bar.update(batch.samples)
    if not found:
        return
    together = max(ADAPTATION_BATCH // size, 1)
    groups = [found[start : start + together] for start in range(0, len(found), together)]
    full = [group for group in groups if len(group) == together] or groups
    joined = [[_joined(moments) for moments in zip(*group, strict=True)] for group in full]
    for layer, moments in zip(layers, zip(*joined, strict=True), strict=True):
        layer.moving_mean.assign(np.mean([mean for mean, _ in moments], axis=0))
        layer.moving_variance.assign(np.mean([variance for _, variance in moments], axis=0))


#: Mean and variance of a batch, by layer.
_Moments = list[tuple[np.ndarray, np.ndarray]]


def _without_filling(batch: Batch, rows: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """Return as many rows, all samples of a batch by turns, so that none of them counts much more than the others."""
    turns = np.arange(len(rows[0])) % batch.samples
    return rows if len(rows[0]) == batch.samples else [array[turns] for array in rows]


def _joined(moments: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of several batches of one size taken as one."""
    means, variances = (np.asarray(values, np.float64) for values in zip(*moments, strict=True))
    return means.mean(axis=0), variances.mean(axis=0) + means.var(axis=0)


@contextmanager
def _batch_statistics(layers: Sequence) -> Iterator[None]:
    """Make batch normalization store the statistics of the current batch (momentum 0), whatever mode the model runs in."""
    with hooked_calls({layer: partial(_with_own_statistics, layer) for layer in layers}):
        yield


def _with_own_statistics(layer, call, inputs, *args, **kwargs):
    """Call batch normalization in training mode with a momentum of 0, which a graph keeps that is traced."""
    kwargs["training"] = True
    with WEIGHTS:
        momentum = layer.momentum
        try:
            layer.momentum = 0.0
            return call(inputs, *args, **kwargs)
        finally:
            layer.momentum = momentum
