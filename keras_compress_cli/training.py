"""Training: what an entry point brings to ``compress``, and the compressed model made of it, fresh or from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_compress import (
    CheckpointManagerCallback,
    CompressionConfig,
    CompressionController,
    TFCompressionState,
    create_compressed_model,
    create_compression_callbacks,
    latest_checkpoint,
    register_default_init_args,
    restore,
)
from keras_compress._keras import keras
from keras_compress.errors import CompressionError, short_repr
from keras_compress_cli.command import UsageError
from keras_compress_cli.entry_point import import_function
from keras_compress_cli.history_file import HistoryFile
from keras_compress_cli.terminal import note

__all__ = ["HISTORY", "Training", "compressed", "evaluated", "fit", "prepared", "read_training"]

#: Name of the file in the folder of logs that has the numbers of every epoch.
HISTORY = "history.csv"
NAMES = ("model", "training_data", "validation_data")


@dataclass(frozen=True)
class Training:
    """What is trained, and on what.

    Attributes:
        model: compiled or not.
        training_data: what ``model.fit`` takes as its first argument, or a tuple of inputs and targets.
        validation_data: what ``fit`` takes as ``validation_data``, None for none.
    """

    model: keras.Model
    training_data: Any
    validation_data: Any = None


def read_training(source: str) -> Training:
    """Call ``module:function`` and return what it brings.

    Raises:
        UsageError: there is no such function.
        CompressionError: it returns something else.
    """
    result = import_function(source)()
    if isinstance(result, Mapping) and set(result) <= set(NAMES) and set(NAMES[:2]) <= set(result):
        result = tuple(result.get(name) for name in NAMES)
    if not isinstance(result, tuple) or len(result) not in (2, 3) or not isinstance(result[0], keras.Model):
        raise CompressionError(
            f"'{source}' returned something else. Expected: a tuple (model, training_data) or (model, training_data, "
            f"validation_data), or a dict with these names, whose model is one of tf_keras. Received: {short_repr(result)}."
        )
    return Training(*result)


def prepared(model: keras.Model, loss: str | None, metrics: list[str], learning_rate: float | None) -> None:
    """Compile a model that is not, or that is to have another loss, and set its learning rate.

    Raises:
        UsageError: it is not compiled, and there is no loss.
    """
    if loss is not None:
        model.compile("adam" if model.optimizer is None else model.optimizer, loss, metrics=metrics)
    elif model.optimizer is None:
        raise UsageError(
            "The model is not compiled. Compile it in the function, or pass --loss, and --metric if you like."
        )
    if learning_rate is not None:
        model.optimizer.learning_rate = learning_rate


def compressed(
    training: Training, config: CompressionConfig, checkpoints: Path | None
) -> tuple[CompressionController, keras.Model]:
    """Return the compressed model and its controller, from the newest checkpoint if there is one."""
    config = register_default_init_args(config, training.training_data)
    newest = None if checkpoints is None else latest_checkpoint(checkpoints)
    if newest is None:
        return create_compressed_model(training.model, config)
    controller, model = restore(training.model, newest, config)
    note(f"going on from '{newest}' after epoch {controller.scheduler.current_epoch + 1}")
    return controller, model


def fit(
    training: Training,
    controller: CompressionController,
    epochs: int,
    *,
    batch_size: int | None = None,
    checkpoints: Path | None = None,
    keep: int = 3,
    log_dir: Path | None = None,
) -> None:
    """Train the compressed model up to a number of epochs, those before a checkpoint included."""
    done = controller.scheduler.current_epoch + 1
    if done >= epochs:
        note(f"all {epochs} epochs are done already")
        return
    callbacks = create_compression_callbacks(controller, log_dir=log_dir, resume=True)
    if checkpoints is not None:
        state = tf.train.Checkpoint(model=controller.model, compression_state=TFCompressionState(controller))
        callbacks.append(CheckpointManagerCallback(state, checkpoints, max_to_keep=keep))
    if log_dir is not None:  # behind the checkpoints: a history without one is of another training
        callbacks.append(HistoryFile(log_dir / HISTORY, done))
    inputs, targets = _split(training.training_data)
    controller.model.fit(
        inputs,
        targets,
        batch_size=batch_size,
        validation_data=training.validation_data,
        epochs=epochs,
        callbacks=callbacks,
    )


def evaluated(model: keras.Model, data: Any) -> dict[str, float]:
    """Return the metrics of a model on validation data, none without any."""
    if data is None:
        return {}
    inputs, targets = _split(data)
    metrics = model.evaluate(inputs, targets, verbose=0, return_dict=True)
    return {name: float(value) for name, value in metrics.items()}


def _split(data: Any) -> tuple[Any, Any]:
    """Return inputs and targets where they come as a tuple of arrays; everything else brings both."""
    return (data[0], data[1]) if isinstance(data, tuple) and len(data) == 2 else (data, None)
