"""CalibratedModel: a model quantized after training, and the way back to floating point for any of its layers."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from keras_compress._keras import keras
from keras_compress.algorithms.quantization import Quantization
from keras_compress.calibration import (
    ActivationRanges,
    AdaptiveRounding,
    FastBiasCorrection,
    adapt_batch_norm,
    correct_biases_in_sequence,
    corrected_layers,
    observable,
    observe,
    round_adaptively,
)
from keras_compress.config import CompressionConfig
from keras_compress.controller import CompressionController, uninitialized
from keras_compress.data import Dataset
from keras_compress.graph import ModelGraph, ModelSnapshot, build, take
from keras_compress.graph.bias_carriers import BiasCarrier, bias_carriers, linear_kernels
from keras_compress.graph.compressed_entry import is_operation_variable
from keras_compress.graph.normalized_layers import normalized_layers
from keras_compress.graph.passes.equalize_channels import equalize_channels
from keras_compress.graph.variables import leaf_layers, named_variables
from keras_compress.layers import observing
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
        snapshot: the original by the layers that were quantized, with their paths.
        config: the configuration.
        carriers: where the bias of each layer is.
        normalized: the layers that each batch normalization stands behind.
        places: the layers whose outputs each quantizer of activations maps.
        data: the calibration data.
        samples: how many of them were used.
    """

    model: keras.Model
    original: keras.Model
    snapshot: ModelSnapshot
    config: CompressionConfig
    carriers: dict[str, BiasCarrier]
    normalized: dict[str, tuple[str, ...]]
    places: dict[str, tuple[str, ...]]
    data: Dataset
    samples: int

    def without(self, layers: Collection[str]) -> keras.Model:
        """Return a new model in which the layers at some paths compute in floating point with the weights they had.

        All others keep their numbers. Quantizers that stand at another place now are measured.
        """
        algorithm = self.config.compression[0]
        exact = tuple(f"{{re}}^{re.escape(path)}$" for path in layers)  # a plain path would mean what is under it too
        left_out = algorithm.model_copy(update={"ignored_scopes": (*algorithm.ignored_scopes, *exact)})
        with self.original.distribute_strategy.scope():
            controller = uninitialized(
                self.original, self.config.model_copy(update={"compression": (left_out,)}), self.snapshot
            )
            if any(ops for _, ops in controller.parts):
                owners = {self.carriers[path].owner for path in layers if path in self.carriers}
                adapted = {path for path, before in self.normalized.items() if set(before) <= set(layers)}
                self._copy_numbers(controller, keep={*layers, *owners, *adapted})
        return controller.model

    def uncorrected(self) -> keras.Model:
        """Return a new model with the same ranges and the float weights as they were before any correction."""
        with self.original.distribute_strategy.scope():
            controller = uninitialized(self.original, self.config, self.snapshot)
            self._copy_numbers(controller, keep=self.snapshot.weights, ranges=True)
        return controller.model

    def _copy_numbers(self, controller: CompressionController, keep: Collection[str], ranges: bool = False) -> None:
        """Give a new model the numbers of this one, but for the layers to keep; of these, at most the ranges."""
        [(algorithm, ops)] = controller.parts
        activations = [bound for bound in ops if bound.weight is None]
        new = [bound for bound in activations if self.places.get(bound.layer) != bound.sources]
        known = dict(leaf_layers(self.model))
        for bound in new:
            known.pop(bound.layer, None)
        for path, layer in leaf_layers(controller.model):
            if path not in known:
                continue
            numbers = named_variables(known[path])
            for name, variable in named_variables(layer).items():
                of_range = path not in keep or (ranges and is_operation_variable(name))
                if of_range and name in numbers:
                    variable.assign(numbers[name])
        if new and isinstance(algorithm, Quantization):
            measured, _ = algorithm.activation_ranges(new)
            with observing({}, observable(controller.model)):
                observe(controller.model, [measured], self.data, "calibration")
            measured.assign()


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
    controller = uninitialized(model, config, snapshot)
    [(algorithm, ops)] = controller.parts
    if not isinstance(algorithm, Quantization):
        raise TypeError(f"Expected: a configuration with quantization alone. Received: '{algorithm.name}'.")
    graph = ModelGraph(snapshot)
    carriers = bias_carriers(graph)
    normalized = normalized_layers(graph)
    places = {bound.layer: bound.sources for bound in ops if bound.weight is None}
    correctable = corrected_layers(controller.model, carriers)
    algorithm.calibrate_weights(ops)
    measured: list[ActivationRanges | FastBiasCorrection] = [algorithm.activation_ranges(ops)[0]]
    if corrections.bias == "fast" and corrections.rounding is None:  # learned rounding keeps the means by itself
        measured.append(FastBiasCorrection(correctable, samples))
    observe(controller.model, measured, data, "calibration")
    for numbers in measured:
        numbers.assign()
    if (rounding := corrections.rounding) is not None:
        quantized = {bound.layer for bound in ops if bound.weight is not None}
        kernels = {path: weight for path, weight in linear_kernels(graph).items() if path in quantized}
        round_adaptively(controller.model, build(snapshot), kernels, data, rounding.num_samples or samples, rounding)
    if corrections.bias == "sequential":
        correct_biases_in_sequence(controller.model, build(snapshot), correctable, data, samples)
    if algorithm.batch_norm_adaptation.num_bn_adaptation_samples:
        adapt_batch_norm(controller.model, data, algorithm.batch_norm_adaptation.num_bn_adaptation_samples)
    return CalibratedModel(controller.model, model, snapshot, config, carriers, normalized, places, data, samples)
