"""ModelFunction: a function of the inputs of a model, run on batches of data: as it is, or traced where that is faster.

Tracing takes as long as some twenty runs as it is, so that only many runs are worth a trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import flat_layers, keras
from keras_compress._tracing import autograph_in_layers, released_graphs
from keras_compress.batch_rows import rows_of_samples
from keras_compress.calibration.model_states import fresh_states
from keras_compress.data import Batch, Dataset, fixed_batch, input_specs, pack_inputs, tensor_specs

__all__ = ["ModelFunction", "runs_over"]

#: Up to so many runs a function is not traced.
FEW_RUNS = 16
#: A loop over so many steps of time takes about as long, as it is, as the rest of a model.
STEPS_OF_TIME = 20


class ModelFunction:
    """A function of the inputs of a model.

    It is run in contexts that hold for the construction and for all runs: a traced function keeps those of its construction. What
    is traced is forgotten with the object.

    Args:
        model: the model.
        function: ``function(inputs, *further)`` of the inputs, structured as ``model`` takes them, and further tensors; what it
            returns is returned. It may call the model as often as it needs. Python's ``if`` on tensors works in layers only.
        further: shape and type of each further tensor.
        runs: how often it will be run, about. Default: so often that it is traced.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
        >>> run = ModelFunction(model, lambda inputs: model(inputs, training=False), runs=2)
        >>> data = Dataset(np.ones((4, 2), np.float32))
        >>> [outputs.numpy().tolist() for _, outputs in run.over(data, batch_size=3, samples=4)]
        [[[2.0], [2.0], [2.0]], [[2.0]]]
    """

    def __init__(
        self, model: keras.Model, function: Callable[..., Any], *further: tf.TensorSpec, runs: int | None = None
    ):
        self._model = model
        self._specs = input_specs(model)
        self._fixed_batch = fixed_batch(self._specs)

        def run(inputs: Any, *others: tf.Tensor) -> Any:
            return function(pack_inputs(model, inputs), *others)

        is_worth_a_trace = runs is None or runs * _parts(model) > FEW_RUNS
        self._run = _traced(run, tensor_specs(self._specs), *further) if is_worth_a_trace else run

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


def runs_over(model: keras.Model, batch_size: int, samples: int) -> int:
    """Return how many batches hold a number of samples, as a model takes them."""
    return -(-samples // (fixed_batch(input_specs(model)) or batch_size))


def _traced(run: Callable[..., Any], *specs: Any) -> Callable[..., Any]:
    with released_graphs() as mark:

        def marked(*tensors: Any) -> Any:
            mark()
            with autograph_in_layers():
                return run(*tensors)

        return tf.function(marked, autograph=False).get_concrete_function(*specs)


def _parts(model: keras.Model) -> float:
    """Return how much longer a model takes, run as it is, than one without loops over time."""
    return max([1.0, *(_steps_of_time(layer) / STEPS_OF_TIME for layer in flat_layers(model))])


def _steps_of_time(layer: keras.layers.Layer) -> float:
    """Return how many steps a recurrent layer makes, infinite where that is not known; 0 for all others."""
    own = layer.layer if isinstance(layer, keras.layers.Wrapper) else layer
    if not isinstance(own, keras.layers.RNN):
        return 0.0
    shape = getattr(layer, "input_shape", None)  # unknown inside of another layer
    shape = shape[0] if isinstance(shape, list) else shape
    return math.inf if shape is None or shape[1] is None else float(shape[1])
