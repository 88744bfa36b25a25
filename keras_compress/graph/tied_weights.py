"""Weights that two layers of a model read: the output projection of a language model that is its table of words.

A copy of such a model would have two weights, which are trained apart, counted twice and compressed in one place only.
So it is refused. One layer that is called twice, also by a nested model, is no such case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.errors import UnsupportedModelError
from keras_compress.graph.rebinding import read_by_functions
from keras_compress.graph.variables import named_variables, submodules

__all__ = ["WeightOwners"]


class WeightOwners:
    """Which layer of a model owns which trained variable.

    Args:
        layers: all layers of a model and of those nested in it, with their paths.
    """

    def __init__(self, layers: Iterable[tuple[str, keras.layers.Layer]]):
        self._layers = list(layers)
        self._owners: dict[int, tuple[str, keras.layers.Layer, str]] = {}  # path, layer, name of a variable
        self._inner: dict[int, int] = {}  # by the identity of a layer, that of one of its variables

    def require_untied(self, variables: Mapping[str, Mapping[str, tf.Variable]]) -> None:
        """Raise an UnsupportedModelError if two layers own the same variable, or a function of one reads that of another.

        Args:
            variables: those of each layer, by its path and their names.
        """
        modules = {path: submodules(layer) for path, layer in self._layers}
        for path, layer in self._layers:
            self._enter(path, layer, variables.get(path, {}), modules[path])
        for path, layer in self._layers:
            attributes = [value for module in modules[path] for value in vars(module).values()]
            for thing in read_by_functions(attributes):
                self.require_own(thing, layer)

    def require_own(self, thing: Any, reader: keras.layers.Layer) -> None:
        """Raise an UnsupportedModelError if a thing is a trained variable of another layer, or a layer that owns one."""
        if not self._owners:
            for path, layer in self._layers:
                self._enter(path, layer, named_variables(layer), submodules(layer))
        found = self._owners.get(self._inner.get(id(thing), id(thing)))
        if found is not None and found[1] is not reader:
            _refuse(found, reader)

    def _enter(
        self,
        path: str,
        layer: keras.layers.Layer,
        variables: Mapping[str, tf.Variable],
        modules: Iterable[tf.Module],
    ) -> None:
        for name, variable in variables.items():
            if not variable.trainable:
                continue
            owner = self._owners.setdefault(id(variable), (path, layer, name))
            if owner[1] is not layer:
                _refuse(owner, layer)
        for inner in modules:
            first = next((id(variable) for variable in inner.variables if id(variable) in self._owners), None)
            if first is not None:
                self._inner[id(inner)] = first


def _refuse(owner: tuple[str, keras.layers.Layer, str], reader: keras.layers.Layer) -> NoReturn:
    path, layer, name = owner
    raise UnsupportedModelError(
        f"The variable '{name}' of layer '{path}' of class {type(layer).__name__} is read by layer '{reader.name}' of class "
        f"{type(reader).__name__} too: the copy would have two variables, trained apart. Expected: each trained variable is "
        f"read by one layer. Received: one of '{path}' and '{reader.name}'. Put both uses into one layer and call it twice: "
        f"for a table of words, a class on keras.layers.Embedding whose call(self, inputs, reverse=False) returns "
        "tf.matmul(inputs, self.embeddings, transpose_b=True) if reverse else super().call(inputs)."
    )
