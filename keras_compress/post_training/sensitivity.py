"""analyze: which layers suffer from quantization, and what each of them costs the outputs of the model."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from keras_compress._keras import forgotten_graphs, keras
from keras_compress.calibration.linear_part import hooked_calls
from keras_compress.data import Dataset, input_specs, pack_inputs, tensor_specs
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer, observing
from keras_compress.plots import plot_sensitivity
from keras_compress.post_training.quantized_layers import QuantizedLayer, SwitchableModel, quantized_layers
from keras_compress.report.table import format_table

__all__ = ["LayerSensitivity", "SensitivityReport", "analyze_layers", "output_errors"]

ANALYSIS_BATCH = 16


@dataclass(frozen=True)
class LayerSensitivity:
    """One quantized layer. All ratios are of signal to quantization error, in dB; low is bad, infinite is no error.

    Attributes:
        layer: its path.
        bits: of its weights, or of its inputs if it has none.
        parameters: number of its weights.
        sqnr: at the output of the layer, the whole model being quantized; errors of the layers before it included.
        only_one: at the outputs of the model when no other layer is quantized; None if it was not measured.
        leave_one_out: at the outputs of the model when all other layers are quantized; None if it was not measured.
        damage: share of this layer in the errors that all layers cause one by one, in [0, 1]; None if not measured.
    """

    layer: str
    bits: int
    parameters: int
    sqnr: float
    only_one: float | None = None
    leave_one_out: float | None = None
    damage: float | None = None


@dataclass(frozen=True)
class SensitivityReport:
    """What quantization does to the layers of a model. ``print`` shows a table, the worst layer first.

    Attributes:
        rows: the layers, the one that does most damage first.
        sqnr: signal to quantization error at the outputs of the quantized model, in dB.
        samples: number of samples it was measured on.
    """

    rows: tuple[LayerSensitivity, ...]
    sqnr: float
    samples: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values; an infinite ratio is None."""
        return {
            "sqnr": _finite(self.sqnr),
            "samples": self.samples,
            "layers": [{key: _finite(value) for key, value in asdict(row).items()} for row in self.rows],
        }

    def save(self, path: str | Path) -> Path:
        """Write the report, as CSV if the path ends in ``.csv``, else as JSON."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".csv":
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, [field.name for field in fields(LayerSensitivity)])
                writer.writeheader()
                writer.writerows(asdict(row) for row in self.rows)
        else:
            path.write_text(json.dumps(self.to_dict(), indent=2))
        return path

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw a bar per layer, the worst on top, and save the picture if a path is given; needs matplotlib."""
        measured = all(row.only_one is not None for row in self.rows)
        ratios = [row.sqnr if row.only_one is None else row.only_one for row in self.rows]
        title = "Outputs of the model, one layer quantized" if measured else "Outputs of the layers"
        return plot_sensitivity([row.layer for row in self.rows], ratios, title, path)

    def __str__(self) -> str:
        header = ["layer", "bits", "parameters", "SQNR of layer", "only this", "all but this", "damage"]
        rows = [
            [
                *(row.layer, row.bits, row.parameters, _decibels(row.sqnr)),
                *(_decibels(row.only_one), _decibels(row.leave_one_out)),
                "" if row.damage is None else f"{row.damage:.1%}",
            ]
            for row in self.rows
        ]
        outputs = f"outputs of the quantized model: {_decibels(self.sqnr)} on {self.samples} samples"
        return f"{outputs}\n\n{format_table(header, rows)}" if rows else outputs


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
            _ratio(alone[index]) if alone else None,
            _ratio(without[index]) if without else None,
            alone[index] / total if alone else None,
        )
        for index, layer in enumerate(layers)
    ]
    rows.sort(key=lambda row: row.sqnr if row.only_one is None else row.only_one)
    return SensitivityReport(tuple(rows), _ratio(errors[0]), samples)


def output_errors(
    switchable: SwitchableModel,
    quantized: Sequence[Sequence[QuantizedLayer]],
    data: Dataset,
    samples: int,
    description: str,
) -> list[float]:
    """Return the power of the error of the outputs over the power of the outputs, for each set of quantized layers.

    Every output of the model counts the same, whatever its size.
    """
    powers, errors = np.zeros(()), np.zeros((len(quantized), 1))
    batches = list(data.batches(switchable.specs, ANALYSIS_BATCH, samples))
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
    specs = input_specs(model)
    made: dict[str, list[tf.Tensor]] = {path: [] for path in hooked}

    def note(path, call, *inputs, **arguments):
        outputs = call(*inputs, **arguments)
        made[path] += [tensor for tensor in tf.nest.flatten(outputs) if tensor.dtype.is_floating]
        return outputs

    def powers(inputs):
        packed = pack_inputs(model, inputs)
        with observing({}, operations):
            model(packed, training=False)
        exact = {path: tensors.copy() for path, tensors in made.items()}
        for tensors in made.values():
            tensors.clear()
        model(packed, training=False)
        return {path: _powers(exact[path], made[path]) for path in made}

    with forgotten_graphs(), hooked_calls({layer: partial(note, path) for path, layer in hooked.items()}):
        run = tf.function(powers).get_concrete_function(tensor_specs(specs))
    sums = {path: np.zeros(2) for path in hooked}
    for batch in data.batches(specs, ANALYSIS_BATCH, samples):
        arrays = (array[: batch.samples] for array in batch.inputs)
        found = run(tuple(tf.constant(array, spec.dtype) for array, spec in zip(arrays, specs, strict=True)))
        for path, (signal, error) in found.items():
            sums[path] += [float(signal), float(error)]
    return {path: _ratio(error / signal if signal else 0.0) for path, (signal, error) in sums.items()}


def _powers(exact: Sequence[tf.Tensor], made: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    pairs = [(tf.cast(a, tf.float32), tf.cast(b, tf.float32)) for a, b in zip(exact, made, strict=True)]
    signal = tf.add_n([tf.reduce_sum(tf.square(a)) for a, _ in pairs])
    return signal, tf.add_n([tf.reduce_sum(tf.square(a - b)) for a, b in pairs])


def _ratio(error: float) -> float:
    """Return a relative power of errors as dB."""
    return math.inf if error == 0 else -10 * math.log10(error)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _decibels(value: float | None) -> str:
    return "" if value is None else "no error" if math.isinf(value) else f"{value:.1f} dB"
