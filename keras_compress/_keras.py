"""The one place that decides which Keras the package works with.

Today this is tf-keras (Keras 2). Every other module imports ``keras`` from here, and the few private names of Keras
that the package depends on are collected here, so that another Keras can be supported by changing this file.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
import tf_keras as keras
from tensorflow.python.autograph.core.ag_ctx import ControlStatusCtx, Status
from tensorflow.python.framework.ops import gradient_registry
from tf_keras.src.engine.base_preprocessing_layer import PreprocessingLayer
from tf_keras.src.engine.functional import Functional, get_network_config
from tf_keras.src.layers.core.tf_op_layer import (
    ClassMethod,
    InstanceMethod,
    InstanceProperty,
    SlicingOpLambda,
    TFOpLambda,
)
from tf_keras.src.saving import serialization_lib

__all__ = [
    "OPERATOR_LAYERS",
    "Functional",
    "PreprocessingLayer",
    "converted",
    "deep_graphs",
    "deserialize",
    "forgotten_graphs",
    "fresh_optimizer",
    "functional_config",
    "inferring_shapes",
    "is_graph_model",
    "keras",
    "register",
    "serialize",
    "trusted",
]

#: Layers that Keras makes by itself from TensorFlow calls on symbolic tensors (``x + y``, ``tf.concat``, ``x[:, 1:]``).
OPERATOR_LAYERS = (TFOpLambda, SlicingOpLambda, ClassMethod, InstanceMethod, InstanceProperty)

register = keras.saving.register_keras_serializable(package="keras_compress")


def serialize(thing: Any) -> dict:
    """Return the JSON-able description of a Keras object (layer, model, optimizer).

    Keras warns about initializers of TensorFlow, which some of its own applications use; the user can do nothing about it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"The `keras\.initializers\.serialize\(\)` API", category=UserWarning)
        return keras.saving.serialize_keras_object(thing)


def deserialize(description: dict, custom_objects: dict | None = None) -> Any:
    """Make a Keras object from its description, under whatever safe mode is in force.

    While Keras reads an ``.h5`` file it knows classes by one name only.
    """
    if serialization_lib.in_tf_saved_model_scope():
        known = {"class_name": description.get("registered_name") or description["class_name"]}
        return keras.layers.deserialize({**known, "config": description["config"]}, custom_objects=custom_objects)
    return keras.saving.deserialize_keras_object(description, custom_objects=custom_objects)


def fresh_optimizer(optimizer: Any) -> Any:
    """Return an optimizer of the same settings that has not taken a step.

    Names of variables without weight decay are not in the configuration of an optimizer. (Variables excluded as objects are
    those of another model: they cannot be kept.)
    """
    fresh = type(optimizer).from_config(optimizer.get_config())
    names = getattr(optimizer, "_exclude_from_weight_decay_names", None)
    if names:
        fresh.exclude_from_weight_decay(var_names=names)
    if getattr(optimizer, "_exclude_from_weight_decay", None):
        warnings.warn(
            "Variables excluded from weight decay as objects are not those of the compressed model. Exclude them by name: "
            "optimizer.exclude_from_weight_decay(var_names=[...]) before create_compressed_model, or compile again.",
            stacklevel=2,
        )
    return fresh


def trusted():
    """Context in which Python lambdas may be deserialized: only for descriptions of objects alive in this process."""
    return serialization_lib.SafeModeScope(safe_mode=False)


@contextmanager
def deep_graphs(layers: int) -> Iterator[None]:
    """Allow Python as many nested calls as Keras makes when it walks a graph of so many layers in a row."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 1000 + 4 * layers))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@contextmanager
def forgotten_graphs() -> Iterator[None]:
    """Let go of the graphs that are traced inside, once nobody else holds them.

    TensorFlow keeps the gradient of every call of a ``tf.custom_gradient`` in a traced graph forever, and with it the graph.
    So inside, functions may be traced that nobody differentiates.
    """
    known = set(gradient_registry._registry)
    try:
        yield
    finally:
        for name in set(gradient_registry._registry) - known:
            if name.startswith("CustomGradient-"):
                del gradient_registry._registry[name]


def converted(call: Callable) -> Callable:
    """Return ``call`` as Keras calls it in a traced function: Python's ``if`` and ``for`` on tensors become operations."""
    return tf.__internal__.autograph.tf_convert(call, ControlStatusCtx(Status.ENABLED))


def functional_config(model: Functional, describe_layer: Callable[[Any], dict]) -> dict:
    """Return the configuration of a Functional model, each layer serialized by ``describe_layer``."""
    return get_network_config(model, serialize_layer_fn=describe_layer)


def inferring_shapes() -> bool:
    """True while Keras runs a layer on placeholders only to learn the shape of its output.

    Operations that keep shapes need not be traced then, which makes building a model much faster.
    """
    if tf.executing_eagerly():
        return False
    return getattr(tf.compat.v1.get_default_graph(), "name", "").endswith("_scratch_graph")


def is_graph_model(layer: Any) -> bool:
    """True for a model that knows its own graph of layers: Functional, Sequential and classes built on them."""
    return isinstance(layer, (Functional, keras.Sequential))
