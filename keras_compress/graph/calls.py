"""Calls of layers that Keras' configuration cannot hold: with constant tensors, or with arguments that have no name.

Keras writes a constant as a list of numbers, which most layers do not take, and forgets ``*args`` of TensorFlow's
functions. Here a constant becomes the output of a layer, and such a function a layer that keeps all its arguments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import (
    TFOpLambda,
    arguments_of,
    kept_calls,
    keras,
    output_of,
    serialize,
    serialized_call,
    takes_unnamed_arguments,
    tensor_place,
)
from keras_compress.layers import Constant, OperatorCall

__all__ = ["with_all_arguments"]

_PLACE = ("module", "class_name", "config", "registered_name")


def with_all_arguments(model: keras.Model, config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a Functional model with the arguments that Keras left out or wrote as lists."""
    return {**config, "layers": _Calls(model, config).entries()}


class _Calls:
    """Writes down the calls of one model, and the constants among their arguments."""

    def __init__(self, model: keras.Model, config: dict[str, Any]):
        self._config = config
        self._names = {entry["name"] for entry in config["layers"]}
        self._calls, self._numbers = kept_calls(model)
        self._input = _first_place(config["input_layers"])
        self._constants: dict[int, dict[str, Any]] = {}

    def entries(self) -> list[dict[str, Any]]:
        written: list[dict[str, Any]] = []
        for entry in self._config["layers"]:
            known = len(self._constants)
            changed = self._entry(entry)
            written += list(self._constants.values())[known:]
            written.append(changed)
        return written

    def _entry(self, entry: dict[str, Any]) -> dict[str, Any]:
        calls = self._calls[entry["name"]]
        if any(_has_unnamed_arguments(call) for call in calls) and len(calls) == 1:
            return self._operator(entry, calls[0])
        nodes = [
            serialized_call(call, self._numbers, self._replaced) if self._has_constants(call) else node
            for call, node in zip(calls, entry["inbound_nodes"], strict=True)
        ]
        return {**entry, "inbound_nodes": nodes}

    def _operator(self, entry: dict[str, Any], call: Any) -> dict[str, Any]:
        """Return the entry of a layer that keeps all arguments of a function of TensorFlow."""
        tensors: list[Any] = []

        def without_tensor(thing: Any) -> Any:
            thing = self._constant(thing) if _is_constant(thing) else thing
            place = tensor_place(thing, self._numbers)
            if place is None:
                return thing
            tensors.append([*place, {}])
            return {"tensor": len(tensors) - 1}

        arguments, keywords = (tf.nest.map_structure(without_tensor, part) for part in arguments_of(call))
        keywords.pop("name", None)
        layer = OperatorCall(call.layer.symbol, arguments, keywords, name=entry["name"], dtype=call.layer.dtype_policy)
        return {**entry, **_described(layer), "inbound_nodes": [tensors]}

    def _has_constants(self, call: Any) -> bool:
        inputs, keywords = arguments_of(call, by_name=True)
        operator = isinstance(call.layer, TFOpLambda)  # whose named arguments TensorFlow reads from lists
        return any(_is_constant(thing) for thing in tf.nest.flatten([inputs] if operator else [inputs, keywords]))

    def _replaced(self, thing: Any) -> Any:
        return self._constant(thing) if _is_constant(thing) else thing

    def _constant(self, value: Any) -> Any:
        """Return what stands for a constant in a call: the output of a layer that gives it."""
        if id(value) not in self._constants:
            name = _unused("constant", self._names)
            array = value.numpy() if isinstance(value, tf.Tensor) else value
            dtype = tf.as_dtype(array.dtype)
            layer = Constant(array, dtype.name, name=name, dtype=dtype.name if dtype.is_floating else None)
            self._constants[id(value)] = {**_described(layer), "name": name, "inbound_nodes": [[[*self._input, {}]]]}
        return output_of(self._constants[id(value)]["name"])


def _described(layer: keras.layers.Layer) -> dict[str, Any]:
    return {key: value for key, value in serialize(layer).items() if key in _PLACE}


def _has_unnamed_arguments(call: Any) -> bool:
    return type(call.layer) is TFOpLambda and takes_unnamed_arguments(call)


def _is_constant(thing: Any) -> bool:
    """Whether a value among the arguments of a call is a tensor of numbers of rank one or more."""
    if isinstance(thing, tf.Tensor) and not keras.backend.is_keras_tensor(thing):
        return thing.shape.rank != 0 and hasattr(thing, "numpy")
    return isinstance(thing, np.ndarray) and thing.ndim > 0


def _first_place(structure: Any) -> list[Any]:
    """Return ``[layer, call, output]`` of the first input of a model."""
    while not (isinstance(structure, (list, tuple)) and isinstance(structure[0], str)):
        structure = next(iter(structure.values())) if isinstance(structure, dict) else structure[0]
    return list(structure[:3])


def _unused(name: str, taken: set[str]) -> str:
    number, wanted = 0, name
    while wanted in taken:
        number += 1
        wanted = f"{name}_{number}"
    taken.add(wanted)
    return wanted
