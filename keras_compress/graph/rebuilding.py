"""Build a model from its configuration, the arrays of its weights and the custom objects that it refers to.

One way for whole models and for models that a layer holds: safe mode, depth of recursion and preprocessing layers are
the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_compress._keras import PreprocessingLayer, calls_of_layers, deserialize, keras, unsafe_deserialization
from keras_compress._threads import raised_recursion_limit
from keras_compress.errors import UnsupportedModelError
from keras_compress.graph.variables import leaf_layers, named_variables, sublayers

__all__ = ["entries", "is_model_entry", "rebuild"]


def rebuild(
    config: dict, weights: Mapping[str, Mapping[str, np.ndarray]], custom_objects: Mapping[str, Any]
) -> keras.Model:
    """Return a new model.

    Args:
        config: Keras' serialized form; it is not changed.
        weights: arrays by layer path and variable name. A layer without arrays keeps its initial values.
        custom_objects: what the configuration refers to by name and Keras does not know.

    Raises:
        UnsupportedModelError: a layer does not make the variables again that it has arrays for.
    """
    with unsafe_deserialization(), raised_recursion_limit(calls_of_layers(sum(1 for _ in entries(config)))):
        config = copy.deepcopy(config)  # some layers take their configuration apart while they are made
        model = deserialize(config, dict(custom_objects))
    for path, layer in leaf_layers(model):
        arrays = weights.get(path)
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
                f"get_config() and build() of {path!r} make the same variables again. Received: {sorted(variables)}. Write "
                "get_config() so that it returns every argument of the class."
            )
        variable.assign(array)


def entries(config: dict, prefix: str = "") -> Iterator[tuple[str, dict]]:
    """Yield ``(path, entry)`` for every layer entry of a model configuration, nested models included before their layers."""
    for entry in config["config"]["layers"]:
        path = prefix + entry["config"]["name"]
        yield path, entry
        if is_model_entry(entry):
            yield from entries(entry, path + "/")


def is_model_entry(entry: dict) -> bool:
    """True when a layer entry is itself a graph of layers."""
    return isinstance(entry.get("config"), dict) and isinstance(entry["config"].get("layers"), list)
