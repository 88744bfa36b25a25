"""Weights that two layers of a model read: the output projection of a language model that is its table of words.

A copy of such a model has two weights, equal at first, which are trained apart, counted twice and compressed one by one. So a
warning names both. A function around which such a variable stands cannot be copied and is refused. One layer that is
called twice, also by a nested model, is no such case.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.errors import UnsupportedModelError
from keras_compress.graph.rebinding import read_by_functions
from keras_compress.graph.variables import named_variables, submodules

__all__ = ["WeightOwners"]

_Owner = tuple[str, keras.layers.Layer, str]  # path, layer, name of a variable
WAY_OUT = (
    "put both uses into one layer and call it twice: for a table of words, a class on keras.layers.Embedding whose "
    "call(self, inputs, reverse=False) returns tf.matmul(inputs, self.embeddings, transpose_b=True) if reverse else "
    "super().call(inputs)."
)


class WeightOwners:
    """Which layer of a model owns which trained variable.

    Args:
        layers: all layers of a model and of those nested in it, with their paths.
    """

    def __init__(self, layers: Iterable[tuple[str, keras.layers.Layer]]):
        self._layers = list(layers)
        self._owners: dict[int, _Owner] = {}
        self._inner: dict[int, int] = {}  # by the identity of a layer, that of one of its variables

    def warn_of_ties(self, variables: Mapping[str, Mapping[str, tf.Variable]]) -> None:
        """Warn if two layers own the same variable.

        Args:
            variables: those of each layer, by its path and their names.

        Raises:
            UnsupportedModelError: a function of one layer, as a Lambda has it, reads a variable of another.
        """
        modules = {path: submodules(layer) for path, layer in self._layers}
        for path, layer in self._layers:
            self._enter(path, layer, variables.get(path, {}), modules[path])
        for path, layer in self._layers:
            attributes = [value for module in modules[path] for value in vars(module).values()]
            for thing in read_by_functions(attributes):
                owner = self._owner(thing, layer)
                if owner is not None:
                    _refuse(owner, layer)

    def warn_if_owned(self, thing: Any, reader: keras.layers.Layer) -> None:
        """Warn if a thing is a trained variable of another layer, or a layer that owns one."""
        if not self._owners:
            for path, layer in self._layers:
                self._enter(path, layer, named_variables(layer), submodules(layer))
        owner = self._owner(thing, reader)
        if owner is not None:
            _warn(owner, reader)

    def _owner(self, thing: Any, reader: keras.layers.Layer) -> _Owner | None:
        found = self._owners.get(self._inner.get(id(thing), id(thing)))
        return None if found is None or found[1] is reader else found

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
                _warn(owner, layer)
        for inner in modules:
            first = next((id(variable) for variable in inner.variables if id(variable) in self._owners), None)
            if first is not None:
                self._inner[id(inner)] = first


def _warn(owner: _Owner, reader: keras.layers.Layer) -> None:
    warnings.warn(
        f"{_tie(owner, reader)} The compressed model has two variables, equal at first, which training moves apart. To keep them "
        f"tied, {WAY_OUT}",
        stacklevel=2,
    )


def _refuse(owner: _Owner, reader: keras.layers.Layer) -> NoReturn:
    raise UnsupportedModelError(
        f"{_tie(owner, reader)} Its function would go on reading that of the original. Expected: functions that read what their "
        f"layer owns. Received: one that reads '{owner[2]}' of '{owner[0]}'. Give the layer the variable as an argument, or "
        f"{WAY_OUT}"
    )


def _tie(owner: _Owner, reader: keras.layers.Layer) -> str:
    path, layer, name = owner
    return (
        f"The variable '{name}' of layer '{path}' of class {type(layer).__name__} is read by layer '{reader.name}' of class "
        f"{type(reader).__name__} too."
    )
