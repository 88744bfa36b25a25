"""Serialize a live model: its configuration, and the custom objects needed to build it again.

Keras' own configuration is taken where there is one. What Keras would refuse (a layer without ``get_config``, a class
that is not registered, a model class with an ``__init__`` of its own) is put into the custom objects, so that every
live model can be built again in the same process.
"""

from __future__ import annotations

import copy
import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_compress._keras import (
    OPERATOR_LAYERS,
    Functional,
    PreprocessingLayer,
    deserialize,
    is_graph_model,
    is_revived,
    keras,
    serialize,
)
from keras_compress.errors import UnsupportedModelError
from keras_compress.graph.argument_variables import ArgumentVariables
from keras_compress.graph.calls import functional_config
from keras_compress.graph.compressed_entry import wrapper_description
from keras_compress.graph.copied_layers import CopyMaker
from keras_compress.graph.copying import LiveCopy, copy_own_attributes
from keras_compress.graph.identity import STAND_IN
from keras_compress.graph.named_functions import described_by_named_functions, is_known, is_lambda
from keras_compress.graph.rebuilding import entries, rebuild
from keras_compress.graph.tied_weights import WeightOwners
from keras_compress.graph.variables import frozen_array, leaf_layers, named_variables, sublayers
from keras_compress.layers import CompressedLayer, WeightOp
from keras_compress.layers.array_layer import ArrayLayer

__all__ = ["describe", "live_copy"]


class _Maker:
    """Stands for a class among custom objects: its ``from_config`` calls a function."""

    def __init__(self, make: Callable[[dict], Any]):
        self._make = make

    def from_config(self, config: dict, custom_objects: dict | None = None) -> Any:
        return self._make(config)


class _SharedMaker:
    """Stands for the class of a layer that several models share: every build gets one layer, as often as it is used."""

    def __init__(self, described: dict, uses: int):
        self._described = described
        self._uses = uses
        self._left = 0
        self._layer: Any = None

    def from_config(self, config: dict, custom_objects: dict | None = None) -> Any:
        if self._left == 0:
            self._layer = deserialize({**self._described, "config": config}, custom_objects)
            self._left = self._uses
        self._left -= 1
        layer = self._layer
        if self._left == 0:
            self._layer = None
        return layer


def _describe_shared(layer: keras.layers.Layer, described: dict, uses: int, custom_objects: dict[str, Any]) -> dict:
    key = f"{STAND_IN}shared {layer.name} {id(layer)}"
    custom_objects.setdefault(key, _SharedMaker(described, uses))
    return {**described, "registered_name": key}


def describe(model: keras.Model) -> tuple[dict, dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    """Return the serialized form of a model, the arrays of its weights, and the custom objects that building it again needs.

    Raises:
        UnsupportedModelError: it cannot be built again.
    """
    layers = list(leaf_layers(model))
    variables = {path: named_variables(layer) for path, layer in layers}
    WeightOwners(layers).warn_of_ties(variables)
    summaries = {id(one) for _, layer in layers for one in _summaries(layer)}
    arrays = {
        path: {name: frozen_array(one) for name, one in named.items() if id(one) not in summaries}
        for path, named in variables.items()
    }
    custom_objects: dict[str, Any] = {}
    of_calls = ArgumentVariables(model)
    config = _describe_model(model, custom_objects, _models_by_layer(model) + of_calls.uses, of_calls)
    _drop_build_configs(config)
    return config, {path: named for path, named in arrays.items() if named}, custom_objects


def _summaries(layer: keras.layers.Layer) -> list[Any]:
    """Return what ``adapt()`` alone needs: a layer that gets the edges of its bins does not make it again."""
    found = (inner for inner in sublayers(layer) if isinstance(inner, keras.layers.Discretization))
    return [variable for inner in found for variable in inner.weights]


def _drop_build_configs(config: dict) -> None:
    """Remove what would make Keras build a layer before the graph calls it, outside its name scope."""
    for _, entry in entries(config):
        entry.pop("build_config", None)


def _models_by_layer(model: keras.Model) -> Counter[int]:
    """Count, for every layer and nested model by its identity, the models it belongs to directly."""
    counts: Counter[int] = Counter()
    waiting, seen = [model], {id(model)}
    while waiting:
        for layer in waiting.pop().layers:
            counts[id(layer)] += 1
            if is_graph_model(layer) and id(layer) not in seen:
                seen.add(id(layer))
                waiting.append(layer)
    return counts


def _describe_model(
    model: keras.Model, custom_objects: dict[str, Any], models_by_layer: Counter[int], variables: ArgumentVariables
) -> dict:
    def describe_layer(layer: keras.layers.Layer) -> dict:
        if is_graph_model(layer):
            described = _describe_model(layer, custom_objects, models_by_layer, variables)
        else:
            described = _describe_layer(layer, custom_objects)
        uses = models_by_layer[id(layer)]
        return described if uses < 2 else _describe_shared(layer, described, uses, custom_objects)

    if isinstance(model, keras.Sequential):
        base: Any = keras.Sequential
        config = {"name": model.name, "layers": [describe_layer(layer) for layer in _with_input_layer(model)]}
    else:
        base = Functional
        config = functional_config(model, describe_layer, variables)
    config["trainable"] = model.trainable
    described = {"module": "keras", "class_name": base.__name__, "config": config, "registered_name": base.__name__}
    key = f"model {model.name} {id(model)}"
    custom_objects[key] = _Maker(lambda config: _make_model(model, base, config))
    return {**described, "class_name": type(model).__name__, "registered_name": key}


def _with_input_layer(model: keras.Sequential) -> list[keras.layers.Layer]:
    """Return the layers of a Sequential model, the input layer first even if the model was built without one."""
    layers = list(model._self_tracked_trackables)
    if not isinstance(layers[0], keras.layers.InputLayer):
        tensor = model.inputs[0]
        layers.insert(
            0, keras.layers.InputLayer(tensor.shape[1:], tensor.shape[0], tensor.dtype, name=model.input_names[0])
        )
    return layers


def _make_model(original: keras.Model, base: Any, config: dict) -> keras.Model:
    """Build a model and give it the class of the original, with the attributes its ``__init__`` would have set."""
    config = dict(config)
    trainable = config.pop("trainable")
    model = base.from_config(config)
    if not trainable:
        model.trainable = False
    if type(original) not in (keras.Model, keras.Sequential, Functional):
        model.__class__ = type(original)
        copy_own_attributes(original, model, live_copy())
    return model


def live_copy() -> LiveCopy:
    """Return a new set of copies of live objects, in which graphs of layers are built again."""
    return LiveCopy(_rebuilt)


def _rebuilt(model: keras.Model) -> keras.Model:
    """Return a copy of a graph of layers that is held by a layer, weights included."""
    return rebuild(*describe(model))


def _describe_layer(layer: keras.layers.Layer, custom_objects: dict[str, Any]) -> dict:
    for inner in sublayers(layer):
        _refuse_revived(inner, layer)
        _collect_custom_objects(inner, custom_objects)
    cls = type(layer)
    if isinstance(layer, CompressedLayer):
        return wrapper_description(layer.config_with(lambda inner: _describe_layer(inner, custom_objects)))
    if isinstance(layer, ArrayLayer):
        return layer.description()
    if not all(_can_be_made_again(inner) for inner in sublayers(layer)):
        return _describe_living(layer, custom_objects)
    described = _serialized(layer)
    described["config"] |= _adapted_state(layer) | _axes_from_the_end(layer)
    if not is_known(cls) and keras.saving.get_registered_object(described["registered_name"]) is not cls:
        described["registered_name"] = f"{cls.__module__}.{cls.__qualname__}"
        custom_objects[described["registered_name"]] = cls
    if all(is_known(type(inner)) or isinstance(inner, WeightOp) for inner in sublayers(layer)):
        return described
    return _describe_copied(layer, described, custom_objects)


def _refuse_revived(inner: keras.layers.Layer, layer: keras.layers.Layer) -> None:
    if is_revived(inner):
        raise UnsupportedModelError(
            f"The class of layer '{inner.name}' is not known: it was read from a SavedModel, which holds its graph without its "
            f"Python code. Expected: a layer whose class this process has. Received: {type(inner).__name__} in '{layer.name}'. "
            "Read the model with keras.models.load_model(path, custom_objects={'MyLayer': MyLayer}), or build it and load "
            "its weights."
        )


def _serialized(layer: keras.layers.Layer) -> dict:
    """Return Keras' description of a layer.

    Raises:
        UnsupportedModelError: something that the layer holds, as a regularizer, cannot be described.
    """
    try:
        return serialize(layer)
    except Exception as error:  # of a get_config of the user's, which may raise anything
        held = {name: value for name, value in vars(layer).items() if not _tells_configuration(value)}
        off = "".join(f", or take it off the layer: layer.{name.removeprefix('_')} = None" for name in list(held)[:1])
        what = ", ".join(f"'{name}' is of class {type(value).__name__}" for name, value in held.items())
        raise UnsupportedModelError(
            f"Layer '{layer.name}' of class {type(layer).__name__} cannot be described: {what or error}. Expected: a "
            "get_config() that returns the arguments of the class, of the layer and of everything it holds. Received: "
            f"{type(error).__name__}: {error}. Write get_config(){off}."
        ) from error


def _tells_configuration(value: Any) -> bool:
    """Whether an attribute of a layer has a configuration, or is of a kind that needs none."""
    kinds = (keras.regularizers.Regularizer, keras.initializers.Initializer, keras.constraints.Constraint)
    if not isinstance(value, kinds):
        return True
    try:
        value.get_config()
    except Exception:  # whatever the user's code raises, the answer is no
        return False
    return True


def _axes_from_the_end(layer: keras.layers.Layer) -> dict:
    """Return the axes of a batch normalization below zero: the last one is known as such without a rank."""
    is_built = isinstance(layer, keras.layers.BatchNormalization) and layer.built and layer.input_spec is not None
    if not is_built or not isinstance(layer.axis, Sequence):
        return {}
    return {"axis": [axis % layer.input_spec.ndim - layer.input_spec.ndim for axis in layer.axis]}


def _adapted_state(layer: keras.layers.Layer) -> dict:
    """Return what a preprocessing layer learned from data and keeps outside its variables and its configuration."""
    if isinstance(layer, PreprocessingLayer) and hasattr(layer, "get_vocabulary") and layer.vocabulary_size() > 0:
        return {"vocabulary": [_plain(token) for token in layer.get_vocabulary(include_special_tokens=False)]}
    if isinstance(layer, keras.layers.Discretization):
        return {"bin_boundaries": [float(edge) for edge in layer.bin_boundaries], "num_bins": None}
    return {}


def _plain(token: Any) -> Any:
    return token.item() if hasattr(token, "item") else token


def _can_be_made_again(layer: keras.layers.Layer) -> bool:
    """Whether the same layer can be made from its configuration, as Keras promises and user code may not keep."""
    if isinstance(layer, keras.layers.Lambda) or any(is_lambda(value) for value in vars(layer).values()):
        return False
    if is_known(type(layer)):
        return True
    try:
        config = layer.get_config()
        return config["name"] == type(layer).from_config(config).name == layer.name
    except Exception:  # whatever the user's code raises, the answer is no
        return False


def _describe_living(layer: keras.layers.Layer, custom_objects: dict[str, Any]) -> dict:
    """Serialize a layer that cannot be created from a configuration: it has the settings of every layer only.

    Of a layer of Keras' own all arguments are known, with names for the functions among them.
    """
    cls = type(layer)
    described = described_by_named_functions(layer, custom_objects)
    described = described or {"module": cls.__module__, "class_name": cls.__name__, "config": {}}
    described["config"] |= _axes_from_the_end(layer)
    return _describe_copied(layer, described, custom_objects)


def _describe_copied(layer: keras.layers.Layer, described: dict, custom_objects: dict[str, Any]) -> dict:
    key = f"{STAND_IN}{layer.name} {id(layer)}"
    maker = CopyMaker(layer, described, live_copy)
    custom_objects[key] = maker
    return {**described, "config": copy.deepcopy(maker.config), "registered_name": key}


def _collect_custom_objects(layer: Any, custom_objects: dict[str, Any]) -> None:
    """Add the class of a layer, and functions and small objects it holds, if they are not Keras' own.

    The function of an operator is found by its path. By its name ``tf.zeros`` would be taken for an initializer.
    """
    for value in (layer, *vars(layer).values()):
        if isinstance(layer, OPERATOR_LAYERS) and inspect.isfunction(value):
            continue
        thing = value if inspect.isfunction(value) else type(value)
        serializable = inspect.isfunction(value) or hasattr(value, "get_config")
        if serializable and not is_known(thing) and not is_lambda(value):
            custom_objects.setdefault(thing.__name__, thing)
