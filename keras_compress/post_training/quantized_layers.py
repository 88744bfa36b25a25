"""Which operations make a layer a quantized one, and a model in which they can be switched on and off layer by layer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.batch_rows import rows_of_samples
from keras_compress.calibration.model_function import ModelFunction
from keras_compress.calibration.model_states import ModelStates
from keras_compress.data import Batch
from keras_compress.graph import ModelGraph, take
from keras_compress.graph.integer_computation import quantizers_before_layers
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CalibratedOp, CompressedLayer, bypassed_unless

__all__ = ["QuantizedLayer", "SwitchableModel", "quantized_layers"]


@dataclass(frozen=True)
class QuantizedLayer:
    """A layer that computes with quantized numbers.

    Attributes:
        path: of the layer.
        on_weights: the quantizers of its weights.
        on_inputs: the quantizers of its inputs; other layers may read them too.
        parameters: number of elements of its compressed weights.
        bits: the fewest bits of any of its weights, of its inputs if it has no weights.
    """

    path: str
    on_weights: tuple[CalibratedOp, ...]
    on_inputs: tuple[CalibratedOp, ...]
    parameters: int
    bits: int

    @property
    def operations(self) -> tuple[CalibratedOp, ...]:
        """All quantizers the layer computes with."""
        return (*self.on_weights, *self.on_inputs)


def quantized_layers(model: keras.Model) -> list[QuantizedLayer]:
    """Return every layer of a compressed model that computes with quantized numbers, in the order of the model."""
    layers = dict(leaf_layers(model))
    found = []
    for path, quantizers in quantizers_before_layers(ModelGraph(take(model))).items():
        layer = layers[path]
        weights: dict[str, CalibratedOp] = {}
        parameters = 0
        if isinstance(layer, CompressedLayer):
            weights = {name: op for name, op in layer.operations if isinstance(op, CalibratedOp)}
            parameters = sum(int(tf.size(layer.compressed_weight(name))) for name in weights)
        on_inputs = tuple(layers[quantizer] for quantizer in quantizers)
        if weights or on_inputs:
            bits = min(op.num_bits for op in (weights.values() if weights else on_inputs))
            found.append(QuantizedLayer(path, tuple(weights.values()), on_inputs, parameters, bits))
    return found


class SwitchableModel:
    """A compressed model traced once, that can be run with any of its quantized layers in floating point.

    Args:
        model: the compressed model.
        layers: its quantized layers.
    """

    def __init__(self, model: keras.Model, layers: Sequence[QuantizedLayer]):
        self._operations = list(dict.fromkeys(op for layer in layers for op in layer.operations))
        self._states = ModelStates(model)
        self._users = {op: [layer for layer in layers if op in layer.operations] for op in self._operations}

        def run(inputs, switches):
            with bypassed_unless({op: switches[index] for index, op in enumerate(self._operations)}):
                return tf.nest.flatten(model(inputs, training=False))

        #: The model, traced; further tensor: for each operation whether it is on.
        self.traced = ModelFunction(model, run, tf.TensorSpec([len(self._operations)], tf.bool))

    def outputs(self, batch: Batch, quantized: Collection[QuantizedLayer]) -> list[np.ndarray]:
        """Return the outputs for the samples of a batch, ``quantized`` being the only layers that are.

        Every run begins without memory of the one before.
        """
        rows = self.traced.rows(batch)
        on = {id(op) for layer in quantized for op in layer.operations}
        switches = tf.constant([id(op) in on for op in self._operations], tf.bool)
        with self._states.fresh():
            outputs = self.traced(rows, switches)
        return [rows_of_samples(np.asarray(output), len(rows[0]), batch.samples) for output in outputs]
