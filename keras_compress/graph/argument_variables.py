"""Variables among the arguments of calls: ``x * tf.Variable(…)`` in a Functional model.

Keras does not know that such a variable belongs to the model. Here a layer owns it, one over a model and all models
nested in it, so that it is trained and counted once. A variable that a layer of the model owns already is refused.
"""

from __future__ import annotations

from collections import Counter

import tensorflow as tf

from keras_compress._keras import Functional, is_graph_model, keras
from keras_compress._keras_calls import arguments_of, kept_calls
from keras_compress.graph.names import numbered_name
from keras_compress.graph.tied_weights import WeightOwners
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import Parameter

__all__ = ["ArgumentVariables"]


class ArgumentVariables:
    """The layers that own the variables among the arguments of the calls of a model.

    Args:
        model: the outermost model; it is only read.

    Attributes:
        uses: of each such layer, by its identity, how many graphs read it.

    Raises:
        UnsupportedModelError: a trained variable belongs to another layer of the model.
    """

    def __init__(self, model: keras.Model):
        graphs = _graphs(model)
        self.uses: Counter[int] = Counter()
        self._names = {layer.name for graph in graphs for layer in graph.layers}
        self._layers: dict[int, Parameter] = {}
        owners = WeightOwners(leaf_layers(model))
        for graph in graphs:
            read = {id(variable): (variable, call.layer) for call in _calls(graph) for variable in _variables(call)}
            for variable, reader in read.values():
                owners.warn_if_owned(variable, reader)
                self.uses[id(self._layer(variable))] += 1

    @property
    def names(self) -> set[str]:
        """The names of the layers."""
        return {layer.name for layer in self._layers.values()}

    def owner(self, variable: tf.Variable) -> Parameter:
        """Return the layer that owns a variable."""
        return self._layers[id(variable)]

    def _layer(self, variable: tf.Variable) -> Parameter:
        if id(variable) not in self._layers:
            name = numbered_name("variable", self._names)
            self._names.add(name)
            dtype = variable.dtype.name if variable.dtype.is_floating else None
            value = variable.numpy()
            self._layers[id(variable)] = Parameter(value, trainable=variable.trainable, name=name, dtype=dtype)
        return self._layers[id(variable)]


def _graphs(model: keras.Model) -> list[keras.Model]:
    """Return a model and all models nested in it, each once."""
    found = {id(model): model}
    waiting = [model]
    while waiting:
        for layer in waiting.pop().layers:
            if is_graph_model(layer) and id(layer) not in found:
                found[id(layer)] = layer
                waiting.append(layer)
    return list(found.values())


def _calls(graph: keras.Model) -> list:
    functional = isinstance(graph, Functional) and not isinstance(graph, keras.Sequential)
    return [call for calls in kept_calls(graph)[0].values() for call in calls] if functional else []


def _variables(call) -> list[tf.Variable]:
    return [thing for thing in tf.nest.flatten(arguments_of(call)) if isinstance(thing, tf.Variable)]
