"""The variables of a live layer by dotted attribute path: ``kernel``, ``cell.recurrent_kernel``, ``forward_layer.bias``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import is_graph_model, keras

__all__ = ["frozen_array", "leaf_layers", "named_variables", "sublayers"]


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
    return found


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return a layer and all layers inside it, each once."""
    found: dict[int, keras.layers.Layer] = {id(layer): layer}
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


def _collect(layer: Any, prefix: str, found: dict[str, tf.Variable], seen: set[int]) -> None:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    attributes = {id(value): name for name, value in vars(layer).items()}
    for variable in layer._trainable_weights + layer._non_trainable_weights:
        if id(variable) not in seen and isinstance(variable, tf.Variable):  # tables of lookup layers are none
            seen.add(id(variable))
            name = attributes.get(id(variable)) or _own_name(variable)
            found[_unused(prefix + name, found)] = variable
    for path, child in _children(layer):
        _collect(child, f"{prefix}{path}.", found, seen)


def _own_name(variable: tf.Variable) -> str:
    """Name of a variable without scopes and device suffix: ``"conv/kernel:0"`` is ``"kernel"``."""
    return variable.name.split("/")[-1].split(":")[0]


def _unused(name: str, taken: dict) -> str:
    candidate, count = name, 1
    while candidate in taken:
        candidate, count = f"{name}_{count}", count + 1
    return candidate


def _children(layer: Any) -> Iterator[tuple[str, Any]]:
    """Yield the layers that are attributes of ``layer``, directly or in lists and dicts, with their path."""
    for name, value in list(vars(layer).items()):
        if name.startswith(("_self_", "_obj_reference")) or name == "_metrics":
            continue  # bookkeeping of Keras, which names the same layers again
        if isinstance(value, keras.layers.Layer):
            yield name, value
        elif isinstance(value, (list, tuple)):
            yield from ((f"{name}.{i}", item) for i, item in enumerate(value) if isinstance(item, keras.layers.Layer))
        elif isinstance(value, dict):
            yield from ((f"{name}.{key}", item) for key, item in value.items() if isinstance(item, keras.layers.Layer))
    if not isinstance(layer, keras.Model):
        return
    for item in layer.layers:
        yield item.name, item
