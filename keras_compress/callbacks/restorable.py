"""What of a training comes back from its checkpoints, and what does not: random numbers without a state, data without a seed."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from typing import Any

import tensorflow as tf

from keras_compress._keras import flat_layers, keras
from keras_compress._keras_training import data_functions, is_restarted, is_spread, shuffling_seeds, training_operations
from keras_compress.callbacks.fit_follower import FitFollower
from keras_compress.controller import CompressionController
from keras_compress.distribution import number_of_workers
from keras_compress.state import TFCompressionState

__all__ = ["controller_of", "not_restored", "warn_of_what_is_not_restored"]

#: Operations that draw random numbers and keep their counter in no variable: a new process starts at the first again.
_COUNTING = frozenset(
    {
        "Multinomial",
        "ParameterizedTruncatedNormal",
        "RandomGamma",
        "RandomPoisson",
        "RandomPoissonV2",
        "RandomShuffle",
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
        "TruncatedNormal",
    }
)
_PYTHON = frozenset({"EagerPyFunc", "GeneratorDataset", "PyFunc", "PyFuncStateless"})


def controller_of(checkpoint: tf.train.Checkpoint) -> CompressionController | None:
    """Return the controller whose state a checkpoint holds, None without any."""
    children = tf.train.TrackableView.children(checkpoint).values()
    found = (child.controller for child in children if isinstance(child, TFCompressionState))
    return next((controller for controller in found if isinstance(controller, CompressionController)), None)


def warn_of_what_is_not_restored(controller: CompressionController | None, model: keras.Model) -> None:
    """Warn of everything that a training resumed from the checkpoints of this ``fit`` would not have as it was."""
    reasons = [] if controller is None else not_restored(controller, model)
    if reasons:
        warnings.warn(
            "A training that is resumed from these checkpoints will not end with the bits of one that was left alone: "
            + "; ".join(reasons)
            + ".",
            stacklevel=4,
        )


def not_restored(controller: CompressionController, model: keras.Model) -> list[str]:
    """Return what will not come back, each with one way out."""
    follower = controller.scheduler.place
    if not isinstance(follower, FitFollower) or follower.data is None:
        return [
            "the place in fit is not known; pass kc.create_compression_callbacks(controller) to fit, in front of the callback "
            "that saves"
        ]
    return [*_of_the_step(model, follower.data), *_of_the_data(follower), *_of_workers(model)]


def _of_workers(model: keras.Model) -> Iterator[str]:
    if number_of_workers(model.distribute_strategy) > 1:
        yield (
            "each of several workers has random numbers and metrics of its own, and the checkpoint is the chief's; save by epoch, "
            "and train on one worker where dropout has to come back"
        )


def _of_the_step(model: keras.Model, data: Any) -> Iterator[str]:
    operations = training_operations(model, data)
    names = {layer.name for layer in flat_layers(model)}
    drawing = sorted({_layer(node.name, names) for node in operations if node.op in _COUNTING})
    if drawing:
        yield (
            f"{drawing} draw random numbers by operations without a state; draw them from a tf.random.Generator that is an "
            "attribute of the layer"
        )
    python = sorted({_layer(node.name, names) for node in operations if node.op in _PYTHON})
    if python:
        yield f"{python} call Python functions; what these remember is in no checkpoint: let them be functions of their inputs"


def _layer(operation: str, names: Collection[str]) -> str:
    """Return the innermost layer in the name of an operation, or the name itself."""
    return next((part for part in reversed(operation.split("/")) if part in names), operation)


def _of_the_data(follower: FitFollower) -> Iterator[str]:
    operations = [operation for graph in data_functions(follower.data) for operation in graph.get_operations()]
    random = [operation for operation in operations if operation.type in _COUNTING]
    unseeded = any(operation.get_attr("seed") == 0 == operation.get_attr("seed2") for operation in random)
    shuffled = shuffling_seeds(follower.data)
    if unseeded or (0, 0) in shuffled:
        yield (
            "the data are shuffled or changed at random without a seed; call keras.utils.set_random_seed(1) before the data "
            "and the model are made, in every process"
        )
    if any(operation.type in _PYTHON for operation in operations):
        yield (
            "the data come from Python code (a generator, a Sequence), which is read again from its start; let it give the same "
            "batches in every process, and pass shuffle=False to fit"
        )
    if shuffled and is_spread(follower.data) and is_restarted(follower.data, follower.steps):
        yield (
            "shuffled data that are spread over several devices start again in the order of the first epoch; use "
            "shuffle(..., reshuffle_each_iteration=False)"
        )
