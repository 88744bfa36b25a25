"""Measurement of what quantization does to the layers of a compressed model, which runs with some of them switched off.

Nothing is quantized here, and nothing is decided from the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from keras_compress._keras import keras
from keras_compress.calibration.layer_hooks import hooked_calls
from keras_compress.calibration.model_function import ModelFunction, runs_over
from keras_compress.calibration.model_states import fresh_states
from keras_compress.calibration.statistics_pass import ValidRows
from keras_compress.data import Dataset, input_specs
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer, observed
from keras_compress.numerics import decibels
from keras_compress.post_training.quantized_layers import QuantizedLayer, SwitchableModel, quantized_layers
from keras_compress.post_training.sensitivity_report import LayerSensitivity, SensitivityReport

__all__ = ["analyze_layers", "output_errors"]

ANALYSIS_BATCH = 16


def analyze_layers(
    model: keras.Model, data: Dataset, samples: int, *, only_one: bool = True, leave_one_out: bool = True
) -> SensitivityReport:
    """Return what quantization does to each layer of a compressed model.

    Args:
        model: the compressed model; what it computes with its quantizers off counts as the truth.
        data: samples.
        samples: how many of them, if there are as many.
        only_one, leave_one_out: measure these too, each with one run of the model per layer. Default True.
    """
    layers = quantized_layers(model)
    samples = sum(batch.samples for batch in data.batches(input_specs(model), ANALYSIS_BATCH, samples))
    by_layer = _layer_sqnr(model, layers, data, samples)
    alone, without, errors = [], [], [0.0]
    if layers:
        switchable = SwitchableModel(model, layers)
        sets = [layers]
        sets += [[layer] for layer in layers] if only_one else []
        sets += [[other for other in layers if other is not layer] for layer in layers] if leave_one_out else []
        errors = output_errors(switchable, sets, data, samples, "analysis")
        alone = errors[1 : 1 + len(layers)] if only_one else []
        without = errors[1 + len(alone) :]
    total = sum(alone) or 1.0
    rows = [
        LayerSensitivity(
            layer.path,
            layer.bits,
            layer.parameters,
            by_layer[layer.path],
            decibels(alone[index]) if alone else None,
            decibels(without[index]) if without else None,
            alone[index] / total if alone else None,
        )
        for index, layer in enumerate(layers)
    ]
    rows.sort(key=lambda row: row.sqnr if row.only_one is None else row.only_one)
    return SensitivityReport(tuple(rows), decibels(errors[0]), samples)


def output_errors(
    switchable: SwitchableModel,
    quantized: Sequence[Sequence[QuantizedLayer]],
    data: Dataset,
    samples: int,
    description: str,
) -> list[float]:
    """Return the power of the error of the outputs over the power of the outputs, for each set of quantized layers.

    Every output of the model counts the same, whatever its size.

    Args:
        switchable: the compressed model, whose quantized layers can be switched on and off.
        quantized: sets of layers; in each run one set is switched on.
        data: the samples.
        samples: how many of them are used.
        description: of the progress that is shown.
    """
    powers, errors = np.zeros(()), np.zeros((len(quantized), 1))
    batches = list(switchable.traced.batches(data, ANALYSIS_BATCH, samples))
    with tqdm(total=len(batches) * len(quantized), desc=description, unit="run", leave=False, disable=None) as bar:
        for batch in batches:
            exact = [output.astype(np.float64) for output in switchable.outputs(batch, [])]
            powers = powers + [np.sum(np.square(output)) for output in exact]
            batch_errors = []
            for layers in quantized:
                outputs = switchable.outputs(batch, layers)
                batch_errors.append([np.sum(np.square(a - b)) for a, b in zip(outputs, exact, strict=True)])
                bar.update()
            errors = errors + batch_errors
    relative = np.divide(errors, powers, out=np.zeros_like(errors), where=powers > 0)
    return [float(value) for value in relative.mean(axis=1)]


def _layer_sqnr(model: keras.Model, layers: Sequence[QuantizedLayer], data: Dataset, samples: int) -> dict[str, float]:
    """Return the ratio of signal to error at the output of each layer, in one pass over the data."""
    living = dict(leaf_layers(model))
    hooked = {path: living[path] for path in (layer.path for layer in layers)}
    hooked = {path: layer.layer if isinstance(layer, CompressedLayer) else layer for path, layer in hooked.items()}
    operations = [op for layer in layers for op in layer.operations]
    made: dict[str, list[tf.Tensor]] = {path: [] for path in hooked}

    def note(path, call, *inputs, **arguments):
        outputs = call(*inputs, **arguments)
        made[path] += [tensor for tensor in tf.nest.flatten(outputs) if tensor.dtype.is_floating]
        return outputs

    sums = {path: np.zeros(2) for path in hooked}
    with fresh_states(model) as states:

        def powers(inputs, samples):
            for tensors in made.values():
                tensors.clear()
            states.reset()
            with observed({}, operations):
                model(inputs, training=False)
            exact = {path: tensors.copy() for path, tensors in made.items()}
            for tensors in made.values():
                tensors.clear()
            states.reset()
            model(inputs, training=False)
            rows = ValidRows(tf.shape(tf.nest.flatten(inputs)[0])[0], samples, tf.constant(0))
            return {path: _powers(exact[path], made[path], rows) for path in made}

        with hooked_calls({layer: partial(note, path) for path, layer in hooked.items()}):
            runs = 2 * runs_over(model, ANALYSIS_BATCH, samples)
            run = ModelFunction(model, powers, tf.TensorSpec([], tf.int32), runs=runs)
            for batch in run.batches(data, ANALYSIS_BATCH, samples):
                for path, (signal, error) in run(run.rows(batch), tf.constant(batch.samples)).items():
                    sums[path] += [float(signal), float(error)]
    return {path: decibels(error / signal if signal else 0.0) for path, (signal, error) in sums.items()}


def _powers(exact: Sequence[tf.Tensor], made: Sequence[tf.Tensor], rows: ValidRows) -> tuple[tf.Tensor, tf.Tensor]:
    def counted(tensor: tf.Tensor) -> tf.Tensor:
        return tf.cast(rows.of(tensor, rows.samples) if tensor.shape.rank != 0 else tensor, tf.float32)

    pairs = [(counted(a), counted(b)) for a, b in zip(exact, made, strict=True)]
    signal = tf.add_n([tf.reduce_sum(tf.square(a)) for a, _ in pairs])
    return signal, tf.add_n([tf.reduce_sum(tf.square(a - b)) for a, b in pairs])
