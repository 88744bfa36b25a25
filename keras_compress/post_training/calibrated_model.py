"""CalibratedModel: a model quantized after training, whose layers can be returned to floating point."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from keras_compress._keras import keras
from keras_compress.calibration import collect_statistics, observable
from keras_compress.config import CompressionConfig
from keras_compress.controller import CompressionController
from keras_compress.create import uninitialized
from keras_compress.data import Dataset
from keras_compress.graph import ModelGraph, ModelSnapshot, take
from keras_compress.graph.batch_norm_fusion import BiasLocation, bias_locations, foldable_batch_norms
from keras_compress.graph.compressed_entry import is_operation_variable
from keras_compress.graph.passes.equalize_channels import equalize_channels
from keras_compress.graph.variables import leaf_layers, named_variables
from keras_compress.initialization import Corrections, initialize, record_data, round_biases, widen_ranges
from keras_compress.layers import observed
from keras_compress.planning import prepare

__all__ = ["CalibratedModel", "calibrated"]


@dataclass(frozen=True)
class CalibratedModel:
    """A quantized model and what it was made from.

    Attributes:
        model: the compressed model.
        original: the user's model.
        snapshot: the original by the layers that were quantized, with their paths.
        config: the configuration.
        bias_locations: where the bias of each layer is.
        normalized: the layers that each batch normalization stands behind.
        places: the layers whose outputs each quantizer of activations maps.
        data: the calibration data.
        samples: how many of them were used.
        wide_ranges: whether ranges of activations hold all samples, where that was tried.
    """

    model: keras.Model
    original: keras.Model
    snapshot: ModelSnapshot
    config: CompressionConfig
    bias_locations: dict[str, BiasLocation]
    normalized: dict[str, tuple[str, ...]]
    places: dict[str, tuple[str, ...]]
    data: Dataset
    samples: int
    wide_ranges: bool = False

    def without(self, layers: Collection[str]) -> keras.Model:
        """Return a new model in which the layers at some paths compute in floating point with the weights they had.

        All others keep their numbers. Quantizers whose place has changed are calibrated.
        """
        exact = tuple(f"{{re}}^{re.escape(path)}$" for path in layers)  # a plain path would mean what is under it too
        without = tuple(
            algorithm.model_copy(update={"ignored_scopes": (*algorithm.ignored_scopes, *exact)})
            for algorithm in self.config.compression
        )
        config = self.config.model_copy(update={"compression": without})
        with self.original.distribute_strategy.scope():
            controller = uninitialized(self.original, config, self.snapshot)
            if any(ops for _, ops in controller.parts):
                owners = {self.bias_locations[path].owner for path in layers if path in self.bias_locations}
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
        moved = [
            (
                algorithm,
                [bound for bound in ops if bound.weight is None and self.places.get(bound.layer) != bound.sources],
            )
            for algorithm, ops in controller.parts
        ]
        new = [bound for _, ops in moved for bound in ops]
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
        collectors = [collector for algorithm, ops in moved for collector in algorithm.collectors(ops)]
        with observed({}, observable(controller.model)):
            collect_statistics(controller.model, collectors, self.data, "calibration")
        for collector in collectors:
            collector.assign()
        if self.wide_ranges:
            widen_ranges(collectors)
        record_data(controller.parts, controller.model, self.data)


def calibrated(
    model: keras.Model,
    config: CompressionConfig,
    data: Dataset,
    corrections: Corrections,
    *,
    equalize: bool = False,
) -> CalibratedModel:
    """Quantize a model after training.

    Args:
        model: the user's model; it is only read.
        config: with quantization as its only algorithm.
        data: calibration data.
        corrections: what is corrected in addition to measuring ranges.
        equalize: equalize channels before anything is measured.
    """
    snapshot = prepare(take(model), config)
    if equalize:
        snapshot = equalize_channels(snapshot)
    controller = uninitialized(model, config, snapshot)
    done = initialize(controller.parts, controller.model, snapshot, data, corrections)
    round_biases(controller.model, config.target_runtime)
    record_data(controller.parts, controller.model, data, done.remarks)
    graph = ModelGraph(snapshot)
    places = {bound.layer: bound.sources for _, ops in controller.parts for bound in ops if bound.weight is None}
    return CalibratedModel(
        controller.model,
        model,
        snapshot,
        config,
        bias_locations(graph),
        foldable_batch_norms(graph),
        places,
        data,
        corrections.samples,
        done.wide_ranges,
    )
