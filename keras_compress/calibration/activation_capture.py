"""ActivationCapture: a model traced once, of which single layers can be asked for what goes into them and comes out.

What a layer is asked for is all that is computed, so a layer near the input costs little; what layers remember is computed
always, and carried from batch to batch as in the pass that measures ranges. Variables are read at each run; a change of a
weight is seen without another trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress._tracing import executed_in_order, released_graphs
from keras_compress.calibration.layer_hooks import hooked_calls
from keras_compress.calibration.model_states import ModelStates
from keras_compress.calibration.statistics_pass import CALIBRATION_BATCH, ValidRows
from keras_compress.data import Batch, Dataset, fixed_batch, input_specs, pack_inputs, tensor_specs

__all__ = ["ActivationCapture"]


class ActivationCapture:
    """The tensors at layers of a model in inference mode.

    Args:
        model: the model.
        layers: the layers to look at, by a name of choice; inside a CompressedLayer the layer it holds.
        make: for each call of a layer ``make(name, inputs)`` returns the tensors that can be asked for. It sees the
            rows of samples, without those that fill a batch of fixed size.
    """

    def __init__(
        self,
        model: keras.Model,
        layers: Mapping[str, keras.layers.Layer],
        make: Callable[[str, tf.Tensor], Sequence[tf.Tensor]],
    ):
        self._states = ModelStates(model)
        self._specs = input_specs(model)
        self._fixed_batch = fixed_batch(self._specs)
        self._tensors: dict[str, list[Sequence[tf.Tensor]]] = {}

        def note(name, call, inputs):
            self._tensors.setdefault(name, []).append(make(name, self._samples_of(inputs)))
            return call(inputs)

        def pass_through(samples, *inputs):
            mark()
            self._rows = ValidRows(tf.shape(inputs[0])[0], samples, tf.constant(0))
            with executed_in_order() as self._needed:
                return tf.nest.flatten(model(pack_inputs(model, inputs), training=False))

        hooks = {layer: partial(note, name) for name, layer in layers.items()}
        with released_graphs() as mark, hooked_calls(hooks):
            number = tf.TensorSpec([], tf.int32)
            self._traced = tf.compat.v1.wrap_function(pass_through, [number, *tensor_specs(self._specs)])

    def _samples_of(self, tensor: tf.Tensor) -> tf.Tensor:
        return tensor if self._fixed_batch is None else self._rows.of(tensor, self._rows.samples)

    @property
    def names(self) -> list[str]:
        """The layers that were called, in the order of their first call."""
        return list(self._tensors)

    def fresh(self) -> AbstractContextManager:
        """Return a context, to be entered around all batches, that layers with a memory begin without it.

        They carry it from batch to batch, and get back in the end what they had.
        """
        return self._states.fresh()

    def function(self, name: str) -> Callable[[Batch], list[list[tf.Tensor]]]:
        """Return what computes, for a batch, the tensors of every call of a layer."""
        tensors = self._tensors[name]
        pruned = self._traced.prune(self._traced.inputs[: len(self._specs) + 1], [tensors, self._updates()])

        def run(batch: Batch) -> list[list[tf.Tensor]]:
            arrays = batch.data if self._fixed_batch is None else batch.inputs
            inputs = (tf.constant(array, spec.dtype) for array, spec in zip(arrays, self._specs, strict=True))
            return pruned(tf.constant(batch.samples), *inputs)[0]

        return run

    def _updates(self) -> list[tf.Operation]:
        """Return the operations by which layers remember."""
        states = {id(variable.handle) for variable in self._states.variables}
        inner = {id(inside) for outside, inside in self._traced.graph.captures if id(outside) in states}
        return [operation for operation in self._needed if any(id(tensor) in inner for tensor in operation.inputs)]

    def batches(self, data: Dataset, samples: int) -> Iterator[Batch]:
        """Return the batches of up to ``samples`` samples."""
        return data.batches(self._specs, CALIBRATION_BATCH, samples)
