"""ModelStates: what layers remember from one run to the next, as stateful recurrent layers do.

A pass over data begins without memory, and leaves a model with the memory it had. Nothing here concerns weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from keras_compress._keras import flat_layers, is_graph_model, keras
from keras_compress.layers import CompressedLayer

__all__ = ["ModelStates", "fresh_states"]


class ModelStates:
    """The variables in which stateful layers remember, and the values they begin with.

    Args:
        variables: of the layers, after their reset.
    """

    def __init__(self, variables: list[tf.Variable]):
        self._variables = variables
        self._initial = [variable.numpy() for variable in variables]

    def reset(self) -> None:
        """Let the layers forget, eagerly or in a graph that is traced."""
        for variable, value in zip(self._variables, self._initial, strict=True):
            variable.assign(value)


@contextmanager
def fresh_states(model: keras.Model) -> Iterator[ModelStates]:
    """Let a model run without memory of earlier runs, and give it back the memory it had.

    Args:
        model: the model; only states of its layers change, and only while the context lasts.

    Example:
        >>> stack = [keras.Input(batch_shape=(1, 2, 3)), keras.layers.LSTM(4, stateful=True)]
        >>> model = keras.Sequential(stack)
        >>> with fresh_states(model):
        ...     seen = model(tf.ones((1, 2, 3)))
        >>> float(tf.reduce_sum(tf.abs(model.layers[0].states[0])))
        0.0
    """
    layers = [layer for layer in flat_layers(model) if _remembers(layer)]
    variables = list({id(variable): variable for layer in layers for variable in _states(layer)}.values())
    kept = [variable.numpy() for variable in variables]
    try:
        for layer in layers:
            layer.reset_states()
        yield ModelStates(variables)
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)


def _remembers(layer: keras.layers.Layer) -> bool:
    stands_for_others = is_graph_model(layer) or isinstance(layer, CompressedLayer)
    return not stands_for_others and getattr(layer, "stateful", False) and bool(_states(layer))


def _states(layer: keras.layers.Layer) -> list[tf.Variable]:
    """Return the variables of a layer that ``reset_states`` sets."""
    if not hasattr(layer, "reset_states") or isinstance(layer, keras.metrics.Metric):
        return []
    states = layer.states if hasattr(layer, "states") else layer.non_trainable_variables
    return [variable for variable in tf.nest.flatten(states) if isinstance(variable, tf.Variable)]
