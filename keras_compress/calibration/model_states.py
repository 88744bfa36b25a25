"""ModelStates: what layers remember from one run to the next, as stateful recurrent layers do.

A pass over data begins without memory, and leaves a model with the memory it had. Nothing here concerns weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import tensorflow as tf

from keras_compress._keras import flat_layers, is_graph_model, keras
from keras_compress.layers import CompressedLayer

__all__ = ["ModelStates", "fresh_states"]


class ModelStates:
    """The layers of a model that remember, and the variables they do it in.

    Args:
        model: the model; only states of its layers change, and only inside of :meth:`fresh`.
    """

    def __init__(self, model: keras.Model):
        self._layers = [layer for layer in flat_layers(model) if _remembers(layer)]
        states = {id(variable): variable for layer in self._layers for variable in _states(layer)}
        self.variables: list[tf.Variable] = list(states.values())
        self._initial: list[np.ndarray] = []

    @contextmanager
    def fresh(self) -> Iterator[ModelStates]:
        """Let the layers begin without memory, and give them back the memory they had."""
        kept = [variable.numpy() for variable in self.variables]
        try:
            for layer in self._layers:
                layer.reset_states()
            self._initial = [variable.numpy() for variable in self.variables]
            yield self
        finally:
            for variable, value in zip(self.variables, kept, strict=True):
                variable.assign(value)

    def reset(self) -> None:
        """Let the layers forget inside of :meth:`fresh`, eagerly or in a graph that is traced."""
        for variable, value in zip(self.variables, self._initial, strict=True):
            variable.assign(value)


def fresh_states(model: keras.Model) -> AbstractContextManager[ModelStates]:
    """Let a model run without memory of earlier runs, and give it back the memory it had.

    To do so many times, keep a :class:`ModelStates`.

    Args:
        model: the model.

    Example:
        >>> stack = [keras.Input(batch_shape=(1, 2, 3)), keras.layers.LSTM(4, stateful=True)]
        >>> model = keras.Sequential(stack)
        >>> with fresh_states(model):
        ...     seen = model(tf.ones((1, 2, 3)))
        >>> float(tf.reduce_sum(tf.abs(model.layers[0].states[0])))
        0.0
    """
    return ModelStates(model).fresh()


def _remembers(layer: keras.layers.Layer) -> bool:
    stands_for_others = is_graph_model(layer) or isinstance(layer, CompressedLayer)
    return not stands_for_others and getattr(layer, "stateful", False) and bool(_states(layer))


def _states(layer: keras.layers.Layer) -> list[tf.Variable]:
    """Return the variables of a layer that ``reset_states`` sets."""
    if not hasattr(layer, "reset_states") or isinstance(layer, keras.metrics.Metric):
        return []
    states = layer.states if hasattr(layer, "states") else layer.non_trainable_variables
    return [variable for variable in tf.nest.flatten(states) if isinstance(variable, tf.Variable)]
