"""The one place that decides which Keras the package works with.

Today this is tf-keras (Keras 2). Every other module imports ``keras`` from here, and the few private names of Keras
that the package depends on are collected here, so that another Keras can be supported by changing this file.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import tensorflow as tf
import tf_keras as keras
from tensorflow.python.eager.polymorphic_function.tf_method_target import TfMethodTarget
from tensorflow.python.util.tf_decorator import TFDecorator
from tf_keras.protobuf.saved_metadata_pb2 import SavedMetadata
from tf_keras.src.backend import RandomGenerator
from tf_keras.src.engine.base_layer import TensorFlowOpLayer
from tf_keras.src.engine.base_preprocessing_layer import PreprocessingLayer
from tf_keras.src.engine.functional import Functional
from tf_keras.src.engine.functional import _make_node_key as call_key
from tf_keras.src.engine.functional import _should_skip_first_node as skips_first_call
from tf_keras.src.engine.node import KerasHistory
from tf_keras.src.layers import serialization as layers_serialization
from tf_keras.src.layers.core.tf_op_layer import (
    ClassMethod,
    InstanceMethod,
    InstanceProperty,
    SlicingOpLambda,
    TFOpLambda,
)
from tf_keras.src.mixed_precision.autocast_variable import AutoCastVariable, create_autocast_variable
from tf_keras.src.saving import serialization_lib

from keras_compress._threads import ignored_warnings

__all__ = [
    "OPERATOR_LAYERS",
    "Functional",
    "GraphFunction",
    "KerasHistory",
    "PreprocessingLayer",
    "RandomGenerator",
    "SavedMetadata",
    "TFOpLambda",
    "TensorFlowOpLayer",
    "accepts",
    "builtin_layers",
    "by_known_name",
    "call_key",
    "calls_of",
    "calls_of_layers",
    "compute_type_attribute",
    "deserialize",
    "flat_layers",
    "fresh_optimizer",
    "has_graph",
    "in_safe_mode",
    "innermost_optimizer",
    "input_names",
    "is_graph_model",
    "is_revived",
    "keras",
    "knows_one_name",
    "learning_rate_schedule",
    "metric_prefixes",
    "number_of_calls",
    "own_attribute_names",
    "parts_of_binding",
    "register",
    "retrace",
    "safe_mode_scope",
    "serialize",
    "set_policy",
    "skips_first_call",
    "unsafe_deserialization",
    "variable_like",
    "with_python_function",
    "without_autograph",
]

#: Layers that Keras makes by itself from TensorFlow calls on symbolic tensors (``x + y``, ``tf.concat``, ``x[:, 1:]``).
OPERATOR_LAYERS = (TFOpLambda, SlicingOpLambda, ClassMethod, InstanceMethod, InstanceProperty)

register = keras.saving.register_keras_serializable(package="keras_compress")


def without_autograph(layer_class: Any) -> Any:
    """Let Keras trace the ``call`` of a layer class as it is written, which is faster: it has no Python ``if`` on tensors.

    This holds for the classes of this package that are derived from it, too; in those of users there may be such an ``if``.
    Layers that it calls are converted by themselves where they need it.
    """
    converted = layer_class._autographed_call

    def call_to_trace(layer: Any) -> Callable[..., Any]:
        return layer.call if type(layer).__module__.partition(".")[0] == __package__ else converted(layer)

    layer_class._autographed_call = call_to_trace
    return layer_class


def serialize(thing: Any) -> dict:
    """Return the JSON-able description of a Keras object (layer, model, optimizer).

    Keras warns about initializers of TensorFlow, which some of its own applications use; the user can do nothing about
    it.
    """
    with ignored_warnings(r"The `keras\.initializers\.serialize\(\)` API"):
        return keras.saving.serialize_keras_object(thing)


def deserialize(description: dict, custom_objects: dict | None = None) -> Any:
    """Make a Keras object from its description, under whatever safe mode is in force.

    While Keras reads an ``.h5`` file it knows classes by one name only.
    """
    if knows_one_name():
        return keras.layers.deserialize(by_known_name(description), custom_objects=custom_objects)
    return keras.saving.deserialize_keras_object(description, custom_objects=custom_objects)


def knows_one_name() -> bool:
    """True while Keras reads an ``.h5`` file or a SavedModel, in whose format a class has one name only."""
    return bool(serialization_lib.in_tf_saved_model_scope())


def by_known_name(description: dict) -> dict:
    """Return a description by the one name that its class has while Keras reads an ``.h5`` file, and else as it is."""
    if not knows_one_name():
        return description
    name = description.get("registered_name") or description["class_name"]
    return {"class_name": name, "config": description["config"]}


def fresh_optimizer(optimizer: Any) -> Any:
    """Return an optimizer of the same settings that has not taken a step.

    Names of variables without weight decay are not in the configuration of an optimizer. (Variables excluded as objects
    are those of another model: they cannot be kept.)
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


def safe_mode_scope(safe_mode: bool):
    """Context in which Keras makes objects from descriptions in safe mode, or not, also those of older formats."""
    return serialization_lib.SafeModeScope(safe_mode=safe_mode)


def unsafe_deserialization():
    """Context in which Python lambdas may be deserialized: only for descriptions of live objects of this process."""
    return safe_mode_scope(False)


def in_safe_mode() -> bool:
    """True while Keras makes objects from a description that it does not trust, as it does while it reads a file by default."""
    safe_mode = serialization_lib.in_safe_mode()
    return bool(serialization_lib.in_tf_saved_model_scope() if safe_mode is None else safe_mode)


def builtin_layers() -> dict[str, Any]:
    """Return Keras' own layers by the names that older files know them by."""
    layers_serialization.populate_deserializable_objects()
    return dict(layers_serialization.LOCAL.ALL_OBJECTS)


def calls_of_layers(layers: int) -> int:
    """Return how many nested calls Keras makes when it walks a graph of so many layers in a row."""
    return 1000 + 4 * layers


def is_graph_model(layer: Any) -> bool:
    """True for a model that knows its own graph of layers: Functional, Sequential and classes built on them."""
    return isinstance(layer, (Functional, keras.Sequential))


def has_graph(layer: Any) -> bool:
    """True for a graph model that has been built: a Sequential without shapes has no graph yet."""
    return is_graph_model(layer) and bool(getattr(layer, "inputs", None)) and bool(getattr(layer, "outputs", None))


def is_revived(layer: Any) -> bool:
    """True for a layer that was read from a SavedModel without its class: traced functions and nothing else."""
    return any(base.__module__.startswith("tf_keras.src.saving.legacy.saved_model") for base in type(layer).__mro__)


@cache
def own_attribute_names() -> frozenset[str]:
    """Return all names that the code of Keras' model classes speaks of; other attributes of a model are the user's."""
    names: set[str] = set()
    waiting: list[Any] = [
        inspect.unwrap(getattr(member, "fget", None) or getattr(member, "__func__", None) or member)
        for base in {*Functional.__mro__, *keras.Sequential.__mro__}
        for member in vars(base).values()
        if callable(member) or isinstance(member, (property, classmethod, staticmethod))
    ]
    waiting = [function.__code__ for function in waiting if hasattr(function, "__code__")]
    while waiting:
        code = waiting.pop()
        names.update(code.co_names)
        waiting += [constant for constant in code.co_consts if inspect.iscode(constant)]
    return frozenset(names)


def set_policy(layer: Any, policy: Any) -> None:
    """Let a layer that has been made compute in another precision; its variables keep theirs."""
    layer._set_dtype_policy(policy)


def variable_like(variable: tf.Variable, policy: Any = None) -> tf.Variable:
    """Return a new variable of the same value, name and settings, under whatever strategy is in scope.

    Args:
        variable: the variable.
        policy: a policy of precision, which the new variable is kept and read by. Default: as the variable is.
    """
    inner = variable._variable if isinstance(variable, AutoCastVariable) else variable
    made = tf.Variable(
        inner.read_value() if policy is None else tf.cast(inner.read_value(), policy.variable_dtype),
        trainable=inner.trainable,
        name=inner.name.partition(":")[0],
        dtype=inner.dtype if policy is None else policy.variable_dtype,
        shape=inner.shape,
        constraint=inner.constraint,
        synchronization=inner.synchronization,
        aggregation=inner.aggregation,
    )
    mixed = policy is not None and policy.compute_dtype != policy.variable_dtype
    return create_autocast_variable(made) if mixed or isinstance(variable, AutoCastVariable) else made


#: The class of what ``tf.function`` returns.
GraphFunction = type(tf.function(lambda: None))


def with_python_function(function: Any, python_function: Callable) -> Any:
    """Return a ``tf.function`` of the same settings that traces another Python function."""
    return function._clone(python_function=python_function)


def parts_of_binding(thing: Any) -> list[Any]:
    """Return what an object holds by which ``tf.function`` binds a method to its owner; nothing for other objects."""
    if isinstance(thing, TfMethodTarget):
        return [thing.weakrefself_target__, thing.weakrefself_func__]
    return list(vars(thing).values()) if isinstance(thing, TFDecorator) else []


def accepts(layer: Any, argument: str) -> bool:
    """True if the ``call`` of a layer takes ``"training"`` or ``"mask"``."""
    return getattr(layer._call_spec, f"expects_{argument}_arg")


#: The attribute of a layer that holds the type it computes in.
compute_type_attribute = "_compute_dtype_object"


def input_names(model: Any) -> list[str]:
    """Return the names of the inputs of a model, in order."""
    return list(model.input_names)


def calls_of(model: Any, layer: Any) -> list[tuple[tuple[int | None, ...], tuple[int | None, ...]]]:
    """Return the shapes of the first input and output of every call of a layer in a model; open sizes are None."""
    calls = (node for level in model._nodes_by_depth.values() for node in level if node.layer is layer)
    return [(_first_shape(call.input_tensors), _first_shape(call.outputs)) for call in calls]


def _first_shape(tensors: Any) -> tuple[int | None, ...]:
    return keras.backend.int_shape(tf.nest.flatten(tensors)[0])


def metric_prefixes(model: Any) -> dict[int, str]:
    """Return what Keras put in front of the names of a model's metrics, by the identity of the metric.

    The first batch of a model of several outputs renames the metrics in place: ``"loss_of_mine"`` becomes
    ``"head_loss_of_mine"``.
    """
    container: Any = getattr(model, "compiled_metrics", None)
    if not getattr(container, "built", False) or container._from_serialized or len(container._output_names) < 2:
        return {}
    outputs = zip(container._output_names, container._metrics, container._weighted_metrics, strict=False)
    return {id(metric): f"{name}_" for name, *groups in outputs for group in groups for metric in group}


def number_of_calls(model: Any, layer: Any) -> int:
    """Return how often a model calls a layer."""
    return sum(node.layer is layer for level in model._nodes_by_depth.values() for node in level)


def flat_layers(model: Any) -> list[Any]:
    """Return all layers inside a model, however deep and in whatever containers."""
    return list(model._flatten_layers(include_self=False))


def innermost_optimizer(optimizer: Any) -> Any:
    """Return the optimizer that others, as one that scales the loss, are wrapped around."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def learning_rate_schedule(optimizer: Any) -> Any:
    """Return the learning-rate schedule of an optimizer, None where the learning rate is a number."""
    found = getattr(optimizer, "_learning_rate", None)
    if found is None and isinstance(optimizer, keras.optimizers.legacy.Optimizer):
        found = optimizer._get_hyper("learning_rate")
    return found if isinstance(found, keras.optimizers.schedules.LearningRateSchedule) else None


def retrace(model: Any) -> None:
    """Trace the training step again before the next batch, because a Python number in it has changed."""
    model.make_train_function(force=True)
