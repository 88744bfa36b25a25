"""One pass of a model over data that several collectors share.

All collectors see the same run of the model on batches of one size, so that a pass costs little more than a prediction
however much is measured. What is measured, and what is done with it, is up to the
collectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Protocol

import tensorflow as tf
from tqdm import tqdm

from keras_compress._keras import keras
from keras_compress.calibration.model_function import ModelFunction, runs_over
from keras_compress.calibration.model_states import fresh_states
from keras_compress.data import Dataset

__all__ = ["CALIBRATION_BATCH", "StatisticsCollector", "ValidRows", "collect_statistics"]

CALIBRATION_BATCH = 32


@dataclass(frozen=True)
class ValidRows:
    """Which rows of a batch are data; the last batch of a pass is padded.

    Attributes:
        batch_size: rows of the batch.
        samples: how many of them, from the first, are data.
        seen: samples in the batches before. All three are int32 scalars.
    """

    batch_size: tf.Tensor
    samples: tf.Tensor
    seen: tf.Tensor
    _counted: dict[int, tf.Tensor] = field(default_factory=dict, repr=False, compare=False)

    def counted(self, limit: int) -> tf.Tensor:
        """Return how many rows count for a collector that needs ``limit`` samples in all."""
        if limit not in self._counted:
            self._counted[limit] = tf.maximum(tf.minimum(self.samples, limit - self.seen), 0)
        return self._counted[limit]

    def of(self, tensor: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
        """Return the rows of a tensor that belong to the first ``counted`` rows of the batch.

        A tensor may have a multiple of the batch as its first axis, as inside TimeDistributed. If its first axis has
        nothing to do with the batch, all of it is taken.
        """
        size = tf.shape(tensor)[0]
        by_sample = size % self.batch_size == 0
        return tensor[: tf.where(by_sample, size // self.batch_size * counted, size)]


class StatisticsCollector(Protocol):
    """What measures something during a pass.

    It keeps its statistics in variables, for the run may be traced; :meth:`assign` puts the result into the model.

    Attributes:
        samples: how many samples it needs.
    """

    samples: int

    def attached(self) -> AbstractContextManager:
        """Return a context in which the collector sees what the model computes."""
        ...

    def begin(self, rows: ValidRows) -> None:
        """Prepare for a batch; called before the model runs on it."""
        ...

    def assign(self) -> None:
        """Set the numbers of the model to what was measured."""
        ...


def collect_statistics(
    model: keras.Model, collectors: Sequence[StatisticsCollector], data: Dataset, description: str
) -> None:
    """Run a model over as many samples as the most demanding collector needs, if there are as many. Without need it does not run.

    Args:
        model: the model; it runs in inference mode. Layers with a memory carry it from batch to batch, as in ``predict``,
            begin without it, and get back what they had.
        collectors: keep what they see in variables of their own.
        data: the samples.
        description: of the progress bar.
    """
    limit = max((collector.samples for collector in collectors), default=0)
    if limit == 0:
        return
    with (
        ExitStack() as attached,
        tqdm(total=limit, desc=description, unit="sample", leave=False, disable=None) as bar,
    ):
        for collector in collectors:
            attached.enter_context(collector.attached())
        attached.enter_context(fresh_states(model))

        def pass_through(inputs, samples, seen):
            rows = ValidRows(tf.shape(tf.nest.flatten(inputs)[0])[0], samples, seen)
            for collector in collectors:
                collector.begin(rows)
            model(inputs, training=False)

        number = tf.TensorSpec([], tf.int32)
        run = ModelFunction(model, pass_through, number, number, runs=runs_over(model, CALIBRATION_BATCH, limit))
        seen = 0
        for batch in run.batches(data, CALIBRATION_BATCH, limit):
            run(batch.inputs, tf.constant(batch.samples), tf.constant(seen))
            seen += batch.samples
            bar.update(batch.samples)
