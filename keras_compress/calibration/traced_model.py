"""TracedModel: a function of the inputs of a model, traced once and run over batches of data.

What is traced is forgotten with the object; contexts in which the model has to run differently are the caller's, around
the construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress._tracing import autograph_in_layers, released_graphs
from keras_compress.batch_rows import rows_of_samples
from keras_compress.calibration.model_states import fresh_states
from keras_compress.data import Batch, Dataset, fixed_batch, input_specs, pack_inputs, tensor_specs

__all__ = ["TracedModel"]


class TracedModel:
    """A traced function of the inputs of a model.

    Args:
        model: the model.
        function: ``function(inputs, *further)`` of the inputs, structured as ``model`` takes them, and further tensors.
            What it returns is traced; it may call the model as often as it needs. Python's ``if`` on tensors works in layers only.
        further: shape and type of each further tensor.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
        >>> run = TracedModel(model, lambda inputs: model(inputs, training=False))
        >>> data = Dataset(np.ones((4, 2), np.float32))
        >>> [outputs.numpy().tolist() for _, outputs in run.over(data, batch_size=3, samples=4)]
        [[[2.0], [2.0], [2.0]], [[2.0]]]
    """

    def __init__(self, model: keras.Model, function: Callable[..., Any], *further: tf.TensorSpec):
        self._model = model
        self._specs = input_specs(model)
        self._fixed_batch = fixed_batch(self._specs)

        with released_graphs() as mark:

            def run(inputs, *others):
                mark()
                with autograph_in_layers():
                    return function(pack_inputs(model, inputs), *others)

            self._run = tf.function(run, autograph=False).get_concrete_function(tensor_specs(self._specs), *further)

    def __call__(self, arrays: Sequence[np.ndarray], *further: tf.Tensor) -> Any:
        """Return what the function gives for inputs in the order of the model."""
        tensors = tuple(tf.constant(array, spec.dtype) for array, spec in zip(arrays, self._specs, strict=True))
        return self._run(tensors, *further)

    def batches(self, data: Dataset, batch_size: int, samples: int, leave_out: range = range(0)) -> Iterator[Batch]:
        """Return the batches of up to ``samples`` samples; all are of one size, the last one filled up."""
        return data.batches(self._specs, batch_size, samples, leave_out)

    def rows(self, batch: Batch) -> Sequence[np.ndarray]:
        """Return the rows of a batch to run on: those with data, but all of them where the model fixes their number."""
        return batch.data if self._fixed_batch is None else batch.inputs

    def over(self, data: Dataset, batch_size: int, samples: int) -> Iterator[tuple[Batch, Any]]:
        """Yield every batch of up to ``samples`` samples and what the function gives for it, filling left out.

        Layers with a memory begin without it, and get it back in the end.
        """
        with fresh_states(self._model):
            for batch in self.batches(data, batch_size, samples):
                rows = self.rows(batch)
                cut = partial(rows_of_samples, batch_size=len(rows[0]), samples=batch.samples)
                yield batch, tf.nest.map_structure(cut, self(rows))
