"""CalibratedModel: a model quantized after training, and the way back to floating point for any of its layers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from keras_compress._keras import keras
from keras_compress.algorithms import BoundOp
from keras_compress.algorithms.quantization import Quantization
from keras_compress.calibration import (
    ActivationRanges,
    AdaptiveRounding,
    FastBiasCorrection,
    Measurement,
    RangeInitializer,
    adapt_batch_norm,
    calibrate_activations,
    correct_biases_in_sequence,
    corrected_layers,
    observable,
    observe,
    round_adaptively,
)
from keras_compress.config import CompressionConfig
from keras_compress.controller import CompressionController, uninitialized
from keras_compress.data import Dataset
from keras_compress.graph import ModelGraph, build, take
from keras_compress.graph.bias_carriers import BiasCarrier, bias_carriers
from keras_compress.graph.compilation import copy_compilation
from keras_compress.graph.passes.equalize_channels import equalize_channels
from keras_compress.graph.variables import leaf_layers, named_variables
from keras_compress.planning import prepare

__all__ = ["CalibratedModel", "Corrections", "calibrated"]


@dataclass(frozen=True)
class Corrections:
    """What is done beside measuring ranges.

    Attributes:
        equalize_channels: before anything is measured.
        bias: ``"fast"``, ``"sequential"`` or None.
        rounding: how rounding is learned, None for rounding to the nearest.
    """

    equalize_channels: bool = False
    bias: str | None = "fast"
    rounding: AdaptiveRounding | None = None


@dataclass(frozen=True)
class CalibratedModel:
    """A quantized model and what it was made from.

    Attributes:
        model: the compressed model.
        original: the user's model.
        float_model: the same function as the original by the layers that were quantized, with their paths.
        config: the configuration.
        carriers: where the bias of each layer is.
        data: the calibration data.
        samples: how many of them were used.
    """

    model: keras.Model
    original: keras.Model
    float_model: keras.Model
    config: CompressionConfig
    carriers: dict[str, BiasCarrier]
    data: Dataset
    samples: int

    def without(self, layers: Collection[str]) -> keras.Model:
        """Return a new model in which the layers at some paths compute in floating point with the weights they had.

        All others keep their numbers. Quantizers that stand at another place now are measured.
        """
        algorithm = self.config.compression[0]
        left_out = algorithm.model_copy(update={"ignored_scopes": (*algorithm.ignored_scopes, *layers)})
        controller = uninitialized(self.float_model, self.config.model_copy(update={"compression": (left_out,)}))
        owners = {self.carriers[path].owner for path in layers if path in self.carriers}
        self._copy_numbers(controller, keep={*layers, *owners})
        copy_compilation(self.original, controller.model)
        controller.model.output_names = list(self.original.output_names)
        return controller.model

    def uncorrected(self) -> keras.Model:
        """Return a new model with the same ranges and the float weights as they were before any correction."""
        controller = uninitialized(self.float_model, self.config)
        self._copy_numbers(controller, keep={path for path, _ in leaf_layers(self.float_model)}, ranges=True)
        return controller.model

    def _copy_numbers(self, controller: CompressionController, keep: Collection[str], ranges: bool = False) -> None:
        """Give a new model the numbers of this one, but for the layers to keep; of these, at most the ranges."""
        known = dict(leaf_layers(self.model))
        for path, layer in leaf_layers(controller.model):
            if path not in known:
                continue
            numbers = named_variables(known[path])
            for name, variable in named_variables(layer).items():
                of_range = path not in keep or (ranges and name.startswith("weight_ops."))
                if of_range and name in numbers and numbers[name].shape == variable.shape:
                    variable.assign(numbers[name])
        new = [
            bound for _, ops in controller.parts for bound in ops if bound.weight is None and bound.layer not in known
        ]
        self._measure(controller, new)

    def _measure(self, controller: CompressionController, new: list[BoundOp]) -> None:
        if new:
            how = RangeInitializer(num_init_samples=self.samples)
            measurements = {bound.op: Measurement(how, len(bound.sources)) for bound in new}
            calibrate_activations(controller.model, measurements, observable(controller.model), self.data)


def calibrated(
    model: keras.Model, config: CompressionConfig, data: Dataset, samples: int, corrections: Corrections
) -> CalibratedModel:
    """Quantize a model after training.

    Args:
        model: the user's model; it is only read.
        config: with quantization as its only algorithm.
        data: calibration data.
        samples: how many of them.
        corrections: what is done beside measuring ranges.
    """
    snapshot = prepare(take(model), config)
    if corrections.equalize_channels:
        snapshot = equalize_channels(snapshot)
    float_model = build(snapshot)
    controller = uninitialized(float_model, config)
    [(algorithm, ops)] = controller.parts
    if not isinstance(algorithm, Quantization):
        raise TypeError(f"Expected: a configuration with quantization alone. Received: '{algorithm.name}'.")
    carriers = bias_carriers(ModelGraph(snapshot))
    correctable = corrected_layers(controller.model, carriers)
    algorithm.calibrate_weights(ops)
    measured: list[ActivationRanges | FastBiasCorrection] = [algorithm.activation_ranges(ops)[0]]
    if corrections.bias == "fast" and corrections.rounding is None:  # learned rounding keeps the means by itself
        measured.append(FastBiasCorrection(correctable, samples))
    observe(controller.model, measured, data, "calibration")
    for numbers in measured:
        numbers.assign()
    if corrections.rounding is not None:
        wanted = corrections.rounding.num_samples or samples
        round_adaptively(controller.model, float_model, correctable, data, wanted, corrections.rounding)
    if corrections.bias == "sequential":
        correct_biases_in_sequence(controller.model, float_model, correctable, data, samples)
    if algorithm.batch_norm_adaptation.num_bn_adaptation_samples:
        adapt_batch_norm(controller.model, data, algorithm.batch_norm_adaptation.num_bn_adaptation_samples)
    copy_compilation(model, controller.model)
    controller.model.output_names = list(model.output_names)
    return CalibratedModel(controller.model, model, float_model, config, carriers, data, samples)
