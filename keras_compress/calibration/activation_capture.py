"""ActivationCapture: a model traced once, of which single layers can be asked for what goes into them and comes out.

What a layer is asked for is all that is computed, so a layer near the input costs little. Variables are read at each
run; a change of a weight is seen without another trace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import tensorflow as tf

from keras_compress._keras import keras, released_graphs
from keras_compress.calibration.layer_hooks import hooked_calls
from keras_compress.calibration.statistics_pass import CALIBRATION_BATCH
from keras_compress.data import Batch, Dataset, input_specs, pack_inputs, tensor_specs

__all__ = ["ActivationCapture"]


class ActivationCapture:
    """The tensors at layers of a model in inference mode.

    Args:
        model: the model.
        layers: the layers to look at, by a name of choice; inside a CompressedLayer the layer it holds.
        make: for each call of a layer ``make(name, inputs)`` returns the tensors that can be asked for.
    """

    def __init__(
        self,
        model: keras.Model,
        layers: Mapping[str, keras.layers.Layer],
        make: Callable[[str, tf.Tensor], Sequence[tf.Tensor]],
    ):
        self._specs = input_specs(model)
        self._tensors: dict[str, list[Sequence[tf.Tensor]]] = {}

        def note(name, call, inputs):
            self._tensors.setdefault(name, []).append(make(name, inputs))
            return call(inputs)

        def pass_through(*inputs):
            return tf.nest.flatten(model(pack_inputs(model, inputs), training=False))

        hooks = {layer: partial(note, name) for name, layer in layers.items()}
        with released_graphs(), hooked_calls(hooks):
            self._traced = tf.compat.v1.wrap_function(pass_through, list(tensor_specs(self._specs)))

    @property
    def names(self) -> list[str]:
        """The layers that were called, in the order of their first call."""
        return list(self._tensors)

    def function(self, name: str) -> Callable[[Batch], list[list[tf.Tensor]]]:
        """Return what computes, for a batch, the tensors of every call of a layer."""
        pruned = self._traced.prune(self._traced.inputs[: len(self._specs)], self._tensors[name])

        def run(batch: Batch) -> list[list[tf.Tensor]]:
            arrays = (array[: batch.samples] for array in batch.inputs)
            tensors = (tf.constant(array, spec.dtype) for array, spec in zip(arrays, self._specs, strict=True))
            return pruned(*tensors)

        return run

    def batches(self, data: Dataset, samples: int):
        """Return the batches of up to ``samples`` samples."""
        return data.batches(self._specs, CALIBRATION_BATCH, samples)
