"""Which layer of a model an operation of its graph belongs to, for messages."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.graph.variables import leaf_layers

__all__ = ["first_operation", "maker_of"]


def maker_of(operation: str, model: keras.Model) -> str:
    """Return the layer that an operation belongs to as the subject of a sentence, else the operation.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")], name="net")
        >>> maker_of("net/dense/MatMul", model), maker_of("scale", model)
        ("Layer 'dense'", "The operation 'scale'")
    """
    parts = set(operation.split("/"))
    paths = [path for path, _ in leaf_layers(model) if set(path.split("/")) <= parts]
    return f"Layer '{max(paths, key=len)}'" if paths else f"The operation '{operation}'"


def first_operation(graph_def: tf.compat.v1.GraphDef, kinds: Collection[str]) -> str:
    """Return the name of the first node of a graph that is of one of some kinds, or that calls a function that holds one."""
    holding: set[str] = set()
    while True:
        more = {
            body.signature.name
            for body in graph_def.library.function
            if any(_is_or_calls(node, kinds, holding) for node in body.node_def)
        }
        if more <= holding:
            break
        holding |= more
    return next(node.name for node in graph_def.node if _is_or_calls(node, kinds, holding))


def _is_or_calls(node: Any, kinds: Collection[str], functions: Collection[str]) -> bool:
    called = [
        function.name for value in node.attr.values() for function in (value.func, *value.list.func) if function.name
    ]
    return node.op in kinds or node.op in functions or not set(called).isdisjoint(functions)
