"""The private names of Keras that concern calls of layers in a graph: their arguments, and how they are written down."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import tensorflow as tf

from keras_compress._keras import Functional, KerasHistory, TFOpLambda, call_key, skips_first_call

__all__ = [
    "arguments_of",
    "calls_in_order",
    "kept_calls",
    "model_structure",
    "operator_function",
    "output_of",
    "serialized_call",
    "takes_unnamed_arguments",
    "tensor_place",
]


def kept_calls(model: Functional) -> tuple[dict[str, list[Any]], dict[str, int]]:
    """Return the calls of each layer that a model's configuration lists, by the layer's name, and their numbers there."""
    calls: dict[str, list[Any]] = {}
    numbers: dict[str, int] = {}
    for layer in model.layers:
        kept = int(skips_first_call(layer))
        calls[layer.name] = []
        for index, node in enumerate(layer._inbound_nodes):
            key = call_key(layer.name, index)
            if key in model._network_nodes:
                numbers[key] = kept
                kept += 1
                calls[layer.name] += [] if node.is_input else [node]
    return calls, numbers


def calls_in_order(model: Functional) -> list[Any]:
    """Return every call of a layer in a model, each behind those whose outputs it takes."""
    return [call for depth in sorted(model._nodes_by_depth, reverse=True) for call in model._nodes_by_depth[depth]]


def arguments_of(call: Any, by_name: bool = False) -> tuple[Any, Any]:
    """Return the positional arguments of a call of a layer and those by name.

    Args:
        call: a node of Keras.
        by_name: return the first argument, and all others by their names.
    """
    if not by_name:
        return call.call_args, dict(call.call_kwargs)
    spec = call.layer._call_spec
    first, rest, named = spec.split_out_first_arg(call.call_args, call.call_kwargs)
    return first, {**dict(zip(spec.arg_names[1:], rest, strict=False)), **named}


def takes_unnamed_arguments(call: Any) -> bool:
    """True if a call hands a function more arguments than it has names for, as ``tf.einsum`` takes them."""
    spec = inspect.getfullargspec(call.layer.function)
    return spec.varargs is not None and len(call.call_args) > len(spec.args)


def tensor_place(tensor: Any, numbers: dict[str, int]) -> list[Any] | None:
    """Return ``[layer, call, output]`` of a symbolic tensor, None for anything else."""
    history = getattr(tensor, "_keras_history", None)
    if history is None:
        return None
    number = numbers.get(call_key(history.layer.name, history.node_index), 0)
    return [history.layer.name, number, history.tensor_index]


def output_of(layer: str) -> Any:
    """Return a placeholder for the output of a layer that has a name and is not made yet."""
    return SimpleNamespace(_keras_history=KerasHistory(SimpleNamespace(name=layer), 0, 0))


def serialized_call(call: Any, numbers: dict[str, int], replaced: Callable[[Any], Any]) -> Any:
    """Return a call as Keras' configuration holds it, with some of its arguments replaced."""
    changed = copy.copy(call)
    changed.call_args = tf.nest.map_structure(replaced, call.call_args)
    changed.call_kwargs = tf.nest.map_structure(replaced, call.call_kwargs)
    return changed.serialize(call_key, numbers)


def model_structure(model: Functional) -> tuple[Any, Any]:
    """Return the symbolic inputs and outputs of a model in the structure that the user gave them."""
    return model._nested_inputs, model._nested_outputs


def operator_function(name: str) -> Callable:
    """Return the public function of TensorFlow of this name, as ``"einsum"``."""
    return TFOpLambda.from_config({"function": name, "name": "operator"}).function
