"""Layers of a snapshot that are copied from a live layer, with what the snapshot's configuration says otherwise.

Names, precision and whether a layer is trained are settings of every layer: they are given to the copy, each to its own
layer. An argument of a class is not: a layer with another one is made from its configuration.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from keras_compress._keras import deserialize, keras
from keras_compress.graph.copying import LiveCopy
from keras_compress.graph.variables import sublayers

__all__ = ["CopyMaker"]

#: What every layer has, whatever the arguments of its class are.
_SETTINGS = ("name", "trainable", "dtype")


class CopyMaker:
    """Stands for the class of a live layer among custom objects: ``from_config`` returns a copy of the layer.

    Args:
        layer: the live layer.
        described: what Keras' serialization says of it.
        live_copy: returns a new set of copies of live objects.
    """

    def __init__(self, layer: keras.layers.Layer, described: dict, live_copy: Callable[[], LiveCopy]):
        self._layer = layer
        self._live_copy = live_copy
        self._described = copy.deepcopy(described)
        self._added = [key for key in _SETTINGS if key not in described["config"]]
        settings = {"name": layer.name, "trainable": layer.trainable, "dtype": layer.dtype_policy.name}
        self.config = {**self._described["config"], **{key: settings[key] for key in self._added}}
        """The configuration of the layer, with the settings of every layer."""

    def from_config(self, config: dict, custom_objects: dict | None = None) -> keras.layers.Layer:
        if _arguments(config) != _arguments(self.config):
            own = {key: value for key, value in config.items() if key not in self._added}
            return deserialize({**self._described, "config": own}, custom_objects)
        described = list(_described_layers(self._layer, config, self.config))
        copies = self._live_copy()
        made = copies.of_layer(self._layer, _policies(self._layer, described))
        for original, new, old in described:  # outer layers first: they set what is inside them, too
            layer = copies.of_value(original)
            if new.get("name", layer.name) != old.get("name", layer.name):
                layer._name = new["name"]
            if config.get("trainable") != self.config.get("trainable") or new.get("trainable") != old.get("trainable"):
                layer.trainable = new.get("trainable", layer.trainable)
        return made


def _described_layers(layer: Any, new: dict, old: dict) -> Iterator[tuple[keras.layers.Layer, dict, dict]]:
    """Yield a layer and the layers inside it that its configuration describes, with their new and old configurations.

    A configuration describes an inner layer under the name of the attribute that holds it.
    """
    yield layer, new, old
    for key in new:
        yield from _described_in(getattr(layer, key, None), new[key], old.get(key))


def _described_in(held: Any, new: Any, old: Any) -> Iterator[tuple[keras.layers.Layer, dict, dict]]:
    if isinstance(held, keras.layers.Layer) and _is_description(new) and _is_description(old):
        yield from _described_layers(held, new["config"], old["config"])
    elif isinstance(held, (list, tuple)) and isinstance(new, (list, tuple)) and len(held) == len(new) == len(old):
        for parts in zip(held, new, old, strict=True):
            yield from _described_in(*parts)
    elif isinstance(held, dict) and isinstance(new, dict):
        for key in new:
            yield from _described_in(held.get(key), new[key], old.get(key))


def _is_description(value: Any) -> bool:
    return isinstance(value, dict) and "class_name" in value and isinstance(value.get("config"), dict)


def _policies(layer: keras.layers.Layer, described: list[tuple[keras.layers.Layer, dict, dict]]) -> dict[int, Any]:
    """Return the new precision of each layer that gets another one, by the identity of the layer.

    A layer that no configuration describes follows the one around it, unless it had a precision of its own. Float32 is
    asked for where nothing may be narrower: there all follow.
    """
    found: dict[int, Any] = {}
    known = {id(one) for one, _, _ in described}
    for one, new, old in described:
        if new.get("dtype") == old.get("dtype"):
            continue
        found[id(one)] = new["dtype"]
        before = one.dtype_policy.name
        for inner in sublayers(one):
            follows = inner.dtype_policy.name == before or new["dtype"] == "float32"
            if id(inner) not in known and follows:
                found[id(inner)] = new["dtype"]
    return found


def _arguments(config: Any, of_layer: bool = True) -> Any:
    """Return a configuration without the settings that every layer has."""
    if isinstance(config, dict):
        left_out = _SETTINGS if of_layer or "trainable" in config else ("dtype",)
        return {key: _arguments(value, False) for key, value in config.items() if key not in left_out}
    return [_arguments(item, False) for item in config] if isinstance(config, (list, tuple)) else config
