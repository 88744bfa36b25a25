"""ModelSnapshot: a Keras model as a value, taken from a live model and built into a new one.

The configuration is Keras' own; the weights are arrays by layer and name. Edits and passes map snapshots to snapshots
and never see a live model.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from keras_compress._keras import PreprocessingLayer, calls_of_layers, deserialize, keras, unsafe_deserialization
from keras_compress._threads import WEIGHTS, raised_recursion_limit
from keras_compress.errors import UnsupportedModelError
from keras_compress.graph.serialization import describe
from keras_compress.graph.variables import frozen_array, leaf_layers, named_variables, sublayers

__all__ = ["ModelSnapshot", "build", "entries", "is_model_entry", "take"]


@dataclass(frozen=True)
class ModelSnapshot:
    """Immutable snapshot of a model: configuration and weights.

    Attributes:
        config: Keras' serialized form of the model: ``{"class_name": …, "config": {"layers": […], …}}``.
        weights: arrays by layer path (``"conv1"``, ``"backbone/conv1"``) and variable name (``"kernel"``).
        custom_objects: what the configuration refers to by name and Keras does not know; see
            :mod:`~keras_compress.graph.serialization`.
    """

    config: dict
    weights: Mapping[str, Mapping[str, np.ndarray]]
    custom_objects: Mapping[str, Any] = field(default_factory=dict)

    def edited(self) -> ModelSnapshot:
        """Return a copy whose configuration may be changed freely; the arrays are shared."""
        return replace(self, config=copy.deepcopy(self.config), weights=dict(self.weights))

    def with_weights(self, weights: Mapping[str, Mapping[str, np.ndarray]]) -> ModelSnapshot:
        """Return the same model with other arrays."""
        return replace(self, weights=weights)


def take(model: keras.Model) -> ModelSnapshot:
    """Return ``model`` as a value. The model is only read."""
    weights = {}
    with WEIGHTS:
        for path, layer in leaf_layers(model):
            variables = named_variables(layer)
            if variables:
                weights[path] = {name: frozen_array(variable) for name, variable in variables.items()}
        config, custom_objects = describe(model)
    _drop_build_configs(config)
    return ModelSnapshot(config, weights, custom_objects)


def build(snapshot: ModelSnapshot) -> keras.Model:
    """Return a new model with the configuration and the weights of ``snapshot``.

    A layer without arrays in the snapshot, as a new quantizer, keeps its initial values.
    """
    layers = sum(1 for _ in entries(snapshot.config))
    with unsafe_deserialization(), raised_recursion_limit(calls_of_layers(layers)):
        config = copy.deepcopy(snapshot.config)  # some layers take their configuration apart while they are made
        model = deserialize(config, dict(snapshot.custom_objects))
    for path, layer in leaf_layers(model):
        arrays = snapshot.weights.get(path)
        if arrays:
            variables = named_variables(layer)
            if isinstance(layer, PreprocessingLayer):  # what adapt() alone needs is not made again
                arrays = {name: array for name, array in arrays.items() if name in variables}
            _assign(path, variables, arrays)
        for inner in sublayers(layer):
            if isinstance(inner, PreprocessingLayer):
                inner.finalize_state()  # constants that Normalization and others derive from their variables
    return model


def _assign(path: str, variables: dict, arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        variable = variables.get(name)
        if variable is None:
            raise UnsupportedModelError(
                f"Layer '{path}' was rebuilt from its configuration without its variable '{name}'. Expected: "
                f"get_config() and build() of {path!r} make the same variables again. Received: {sorted(variables)}."
            )
        variable.assign(array)


def entries(config: dict, prefix: str = ""):
    """Yield ``(path, entry)`` for every layer entry of a model configuration, nested models included before their layers."""
    for entry in config["config"]["layers"]:
        path = prefix + entry["config"]["name"]
        yield path, entry
        if is_model_entry(entry):
            yield from entries(entry, path + "/")


def is_model_entry(entry: dict) -> bool:
    """True when a layer entry is itself a graph of layers."""
    return isinstance(entry.get("config"), dict) and isinstance(entry["config"].get("layers"), list)


def _drop_build_configs(config: dict) -> None:
    """Remove what would make Keras build a layer before the graph calls it, outside its name scope."""
    for _, entry in entries(config):
        entry.pop("build_config", None)
