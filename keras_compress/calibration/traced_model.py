"""TracedModel: a function of the inputs of a model, traced once and run over batches of data.

What is traced is forgotten with the object; contexts in which the model has to run differently are the caller's, around
the construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras, released_graphs
from keras_compress.data import Batch, Dataset, input_specs, pack_inputs, tensor_specs

__all__ = ["TracedModel"]


class TracedModel:
    """A traced function of the inputs of a model.

    Args:
        model: the model.
        function: ``function(inputs, *further)`` of the inputs, structured as ``model`` takes them, and further tensors.
            What it returns is traced; it may call the model as often as it needs.
        further: shape and type of each further tensor.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
        >>> mean = TracedModel(model, lambda inputs: tf.reduce_mean(model(inputs, training=False)))
        >>> [float(value) for _, value in mean.over(Dataset(np.ones((4, 2), np.float32)), batch_size=2, samples=4)]
        [2.0, 2.0]
    """

    def __init__(self, model: keras.Model, function: Callable[..., Any], *further: tf.TensorSpec):
        self._specs = input_specs(model)

        def run(inputs, *others):
            return function(pack_inputs(model, inputs), *others)

        with released_graphs():
            self._run = tf.function(run).get_concrete_function(tensor_specs(self._specs), *further)

    def __call__(self, arrays: Sequence[np.ndarray], *further: tf.Tensor) -> Any:
        """Return what the function gives for inputs in the order of the model."""
        tensors = tuple(tf.constant(array, spec.dtype) for array, spec in zip(arrays, self._specs, strict=True))
        return self._run(tensors, *further)

    def batches(self, data: Dataset, batch_size: int, samples: int) -> Iterator[Batch]:
        """Return the batches of up to ``samples`` samples; all are of one size, the last one filled up."""
        return data.batches(self._specs, batch_size, samples)

    def over(self, data: Dataset, batch_size: int, samples: int) -> Iterator[tuple[Batch, Any]]:
        """Yield every batch of up to ``samples`` samples and what the function gives for it, filling left out."""
        for batch in self.batches(data, batch_size, samples):
            yield batch, self([array[: batch.samples] for array in batch.inputs])
