"""Calls of layers that Keras' configuration cannot hold: with constant tensors, with variables, or with unnamed arguments.

Keras writes a constant as a list of numbers, which most layers do not take, and forgets ``*args`` of TensorFlow's
functions. Here a constant becomes the output of a layer, a variable that of a layer which owns it, and such a function a
layer that keeps all its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import TFOpLambda, keras
from keras_compress._keras_calls import (
    arguments_of,
    kept_calls,
    model_structure,
    output_of,
    serialized_call,
    takes_unnamed_arguments,
    tensor_place,
)
from keras_compress.errors import UnsupportedModelError
from keras_compress.graph.argument_variables import ArgumentVariables
from keras_compress.graph.compressed_entry import described
from keras_compress.graph.names import numbered_name
from keras_compress.layers import Constant, OperatorCall

__all__ = ["functional_config"]


def functional_config(
    model: keras.Model, describe_layer: Callable[[keras.layers.Layer], dict], variables: ArgumentVariables
) -> dict[str, Any]:
    """Return the configuration of a Functional model, as Keras reads it.

    Args:
        model: the model; it is only read.
        describe_layer: returns what Keras' serialization says of a layer.
        variables: those among the arguments of its calls, and of all models around it.

    Raises:
        UnsupportedModelError: a call has an argument that cannot be written down.
    """
    return _Calls(model, describe_layer, variables).config()


class _Calls:
    """Writes down the calls of one model, and the constants and variables among their arguments."""

    def __init__(
        self, model: keras.Model, describe_layer: Callable[[keras.layers.Layer], dict], variables: ArgumentVariables
    ):
        self._model = model
        self._describe_layer = describe_layer
        self._variables = variables
        self._names = {layer.name for layer in model.layers} | variables.names
        self._calls, self._numbers = kept_calls(model)
        self._input = tensor_place(tf.nest.flatten(model.inputs)[0], self._numbers) or []
        self._values: dict[int, dict[str, Any]] = {}

    def config(self) -> dict[str, Any]:
        written: list[dict[str, Any]] = []
        for layer in self._model.layers:
            known = len(self._values)
            entry = self._entry(layer, {**self._describe_layer(layer), "name": layer.name})
            written += [*list(self._values.values())[known:], entry]
        inputs, outputs = (self._places(part) for part in model_structure(self._model))
        return {"name": self._model.name, "layers": written, "input_layers": inputs, "output_layers": outputs}

    def _places(self, structure: Any) -> Any:
        places = tf.nest.map_structure(lambda tensor: tensor_place(tensor, self._numbers), structure)
        return places if tf.nest.is_nested(structure) else [places]

    def _entry(self, layer: keras.layers.Layer, described: dict[str, Any]) -> dict[str, Any]:
        calls = self._calls[layer.name]
        if any(_has_unnamed_arguments(call) for call in calls) and len(calls) == 1:
            return self._operator(described, calls[0])
        return {**described, "inbound_nodes": [self._call(layer, call) for call in calls]}

    def _call(self, layer: keras.layers.Layer, call: Any) -> Any:
        arrays: dict[str, np.ndarray] = {}

        def with_label(thing: Any) -> Any:
            """Return a label for an array that stays an argument: Keras would write each of its numbers down."""
            if not _is_constant(thing):
                return thing
            arrays[label := f"array {len(arrays)} of {id(call)}"] = _array(thing)
            return label

        replaced = self._replaced if self._is_concerned(call) else with_label
        functions = [thing for thing in tf.nest.flatten(arguments_of(call)) if _is_function(thing)]
        try:
            if functions:
                raise TypeError(f"{functions[0]} is a function.")
            return _with_arrays(serialized_call(call, self._numbers, replaced), arrays)
        except (TypeError, ValueError) as error:
            kinds = sorted(
                {type(thing).__name__ for thing in tf.nest.flatten(arguments_of(call)) if not _is_plain(thing)}
            )
            raise UnsupportedModelError(
                f"A call of layer '{layer.name}' of class {type(layer).__name__} cannot be written down: {error} Expected: "
                "tensors, numbers, strings, and lists and dicts of them as arguments of the call. Received: an argument of "
                f"type {' and one of type '.join(kinds) or type(error).__name__}. Give the layer what else it needs when it is "
                "made, as layer = MyLayer(argument)."
            ) from error

    def _operator(self, entry: dict[str, Any], call: Any) -> dict[str, Any]:
        """Return the entry of a layer that keeps all arguments of a function of TensorFlow."""
        tensors: list[Any] = []

        def without_tensor(thing: Any) -> Any:
            thing = self._replaced(thing)
            place = tensor_place(thing, self._numbers)
            if place is None:
                return thing
            tensors.append([*place, {}])
            return {"tensor": len(tensors) - 1}

        arguments, keywords = (tf.nest.map_structure(without_tensor, part) for part in arguments_of(call))
        keywords.pop("name", None)
        layer = OperatorCall(call.layer.symbol, arguments, keywords, name=entry["name"], dtype=call.layer.dtype_policy)
        return {**entry, **described(layer), "inbound_nodes": [tensors]}

    def _is_concerned(self, call: Any) -> bool:
        """Whether a call has arguments that Keras' configuration would lose."""
        first, named = arguments_of(call, by_name=True)
        if any(isinstance(thing, tf.Variable) for thing in tf.nest.flatten([first, named])):
            return True
        operator = isinstance(call.layer, TFOpLambda)  # whose named arguments TensorFlow reads from lists of numbers
        concerned = [
            thing for thing in tf.nest.flatten(named) if _is_constant(thing) and not (operator and _is_real(thing))
        ]
        return bool(concerned) or any(_is_constant(thing) for thing in tf.nest.flatten(first))

    def _replaced(self, thing: Any) -> Any:
        """Return the output of a layer that gives a constant or a variable among the arguments of a call."""
        if isinstance(thing, tf.Variable):
            return self._value(thing, self._variables.owner)
        return self._value(thing, self._constant) if _is_constant(thing) else thing

    def _constant(self, thing: Any) -> keras.layers.Layer:
        array = _array(thing)
        dtype = tf.as_dtype(array.dtype)
        name = numbered_name("constant", self._names)
        self._names.add(name)
        return Constant(array, name=name, dtype=dtype.name if dtype.is_floating else None)

    def _value(self, thing: Any, layer_of: Callable[[Any], keras.layers.Layer]) -> Any:
        if id(thing) not in self._values:
            layer = layer_of(thing)
            place = {"name": layer.name, "inbound_nodes": [[[*self._input, {}]]]}
            self._values[id(thing)] = {**self._describe_layer(layer), **place}
        return output_of(self._values[id(thing)]["name"])


def _has_unnamed_arguments(call: Any) -> bool:
    return type(call.layer) is TFOpLambda and takes_unnamed_arguments(call)


def _is_constant(thing: Any) -> bool:
    """Whether a value among the arguments of a call is a tensor of numbers of rank one or more."""
    if isinstance(thing, tf.Tensor) and not keras.backend.is_keras_tensor(thing):
        return thing.shape.rank != 0 and hasattr(thing, "numpy")
    return isinstance(thing, np.ndarray) and thing.ndim > 0


def _is_plain(thing: Any) -> bool:
    """Whether a thing among the arguments of a call is of a kind that can be written down."""
    return thing is None or isinstance(thing, (bool, int, float, str, np.ndarray, tf.DType)) or tf.is_tensor(thing)


def _is_real(constant: Any) -> bool:
    """Whether a constant can be written as a list of numbers."""
    dtype = tf.as_dtype(constant.dtype)
    return dtype.is_floating or dtype.is_integer or dtype.is_bool


def _is_function(thing: Any) -> bool:
    return callable(thing) and not isinstance(thing, (type, tf.Variable)) and not tf.is_tensor(thing)


def _array(thing: Any) -> np.ndarray:
    return thing.numpy() if tf.is_tensor(thing) else np.asarray(thing)


def _with_arrays(structure: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return the description of a call with the arrays in the place of their labels."""
    if isinstance(structure, dict):
        return {key: _with_arrays(value, arrays) for key, value in structure.items()}
    if type(structure) in (list, tuple):
        return type(structure)(_with_arrays(item, arrays) for item in structure)
    return arrays.get(structure, structure) if isinstance(structure, str) else structure
