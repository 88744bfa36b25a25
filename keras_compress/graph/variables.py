"""The variables of a live layer by dotted attribute path: ``kernel``, ``cell.recurrent_kernel``, ``forward_layer.bias``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import is_graph_model, keras
from keras_compress.graph.names import numbered_name

__all__ = ["frozen_array", "held_things", "leaf_layers", "named_variables", "sublayers", "submodules"]

#: Attributes in which Keras names the same layers again.
_TRACKED = "_self_tracked_trackables"
_BOOKKEEPING = frozenset(
    (
        _TRACKED,
        "_metrics",
        "_obj_reference_counts_dict",
        "_distribute_strategy",
        "_self_unconditional_checkpoint_dependencies",
        "_self_unconditional_dependency_names",
        "_self_unconditional_deferred_dependencies",
        "_self_name_based_restores",
        "_self_saveable_object_factories",
    )
)


def leaf_layers(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield ``(path, layer)`` for every layer of a model that is not itself a graph of layers.

    A layer of a nested model has the path ``"backbone/conv1"``. A model that is used twice is walked once.
    """
    for layer in model.layers:
        path = prefix + layer.name
        if is_graph_model(layer):
            yield from leaf_layers(layer, path + "/")
        else:
            yield path, layer


def named_variables(layer: keras.layers.Layer) -> dict[str, tf.Variable]:
    """Return all variables of a layer and of the layers inside it, by dotted attribute path.

    A variable that can be reached in several ways has the path found first.
    """
    found: dict[str, tf.Variable] = {}
    _collect(layer, "", found, set())
    known = {id(variable) for variable in found.values()}
    if all(id(item) in known for item in layer.weights if isinstance(item, tf.Variable)):
        return found
    found = {}
    _collect(layer, "", found, set(), unnamed=True)
    return found


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return a layer and all layers inside it, each once."""
    return [inner for inner in submodules(layer) if isinstance(inner, keras.layers.Layer)]


def submodules(layer: keras.layers.Layer) -> list[tf.Module]:
    """Return a layer and all layers and other modules inside it, each once, in an order that a second instance has too."""
    found: dict[int, tf.Module] = {id(layer): layer}
    waiting = [layer]
    while waiting:
        for _, child in _children(waiting.pop()):
            if id(child) not in found:
                found[id(child)] = child
                waiting.append(child)
    return list(found.values())


def frozen_array(variable: tf.Variable) -> np.ndarray:
    """Return the present value of a variable, without a copy where possible; later changes do not reach it.

    TensorFlow writes to a new buffer while the old one is referenced.
    """
    value = variable.value()
    try:
        return np.asarray(memoryview(value))
    except (TypeError, ValueError, BufferError):  # another device, or a type NumPy does not know
        return value.numpy()


def held_things(value: Any, path: str, kinds: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a value is or holds in lists, tuples and dicts, however deep, if it is of one of ``kinds``.

    Args:
        value: an attribute.
        path: its name; what it holds has the path ``"blocks.0"`` or ``"heads.left"``.
        kinds: a class or a tuple of classes.
    """
    waiting, seen = [(path, value)], set()
    while waiting:
        place, thing = waiting.pop()
        if isinstance(thing, kinds):
            yield place, thing
        elif isinstance(thing, (list, tuple, dict)) and id(thing) not in seen:
            seen.add(id(thing))
            items = thing.items() if isinstance(thing, dict) else enumerate(thing)
            waiting += reversed([(f"{place}.{key}", item) for key, item in items])


def _collect(layer: Any, prefix: str, found: dict[str, tf.Variable], seen: set[int], unnamed: bool = False) -> None:
    """Put the variables of a layer into ``found``, with ``unnamed`` also those that Keras tracks without a place."""
    if id(layer) in seen:
        return
    seen.add(id(layer))
    attributes = {id(value): name for name, value in vars(layer).items()}
    for variable in _own_variables(layer):
        if id(variable) not in seen and isinstance(variable, tf.Variable):  # tables of lookup layers are none
            seen.add(id(variable))
            name = attributes.get(id(variable)) or _own_name(variable)
            found[numbered_name(prefix + name, found)] = variable
    for path, child in _children(layer):
        _collect(child, f"{prefix}{path}.", found, seen, unnamed)
    if unnamed and isinstance(layer, keras.layers.Layer):
        for variable in layer.weights:  # as of a tf.Module in a tf.Module
            if id(variable) not in seen and isinstance(variable, tf.Variable):
                seen.add(id(variable))
                found[numbered_name(prefix + _own_name(variable), found)] = variable


def _own_variables(holder: Any) -> list[Any]:
    """Return the variables of a layer or of a ``tf.Module``, without those of layers and modules inside."""
    if isinstance(holder, keras.layers.Layer):
        return [*holder._trainable_weights, *holder._non_trainable_weights]
    return [item for name, value in vars(holder).items() for _, item in held_things(value, name, tf.Variable)]


def _own_name(variable: tf.Variable) -> str:
    """Name of a variable without scopes and device suffix: ``"conv/kernel:0"`` is ``"kernel"``."""
    return variable.name.split("/")[-1].split(":")[0]


def _children(layer: Any) -> Iterator[tuple[str, Any]]:
    """Yield the layers and modules that are attributes of ``layer``, directly or in lists and dicts, with their path.

    The path is a place, which a second instance has too; names that Keras numbers are not.
    """
    if is_graph_model(layer):
        yield from _layers_by_place(layer)
    for name, value in list(vars(layer).items()):
        if name not in _BOOKKEEPING:
            yield from held_things(value, name, tf.Module)
    if isinstance(layer, keras.layers.Layer):
        if isinstance(layer, keras.Model) and not is_graph_model(layer):
            yield from _layers_by_place(layer)
        yield from held_things(getattr(layer, _TRACKED, []), _TRACKED, keras.layers.Layer)


def _layers_by_place(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    return ((f"layers.{place}", item) for place, item in enumerate(model.layers))
