"""restore: a compressed model and its controller, back from a checkpoint, in one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.config import CompressionConfig
from keras_compress.controller import CompressionController
from keras_compress.create import create_compressed_model
from keras_compress.errors import StateError
from keras_compress.state import CompressionState, TFCompressionState, TFCompressionStateLoader

__all__ = ["restore"]

#: What TensorFlow raises for files that are missing, cut off or overwritten.
_DAMAGE = (tf.errors.OpError, ValueError, IndexError, KeyError, UnicodeDecodeError, AssertionError)


def restore(
    model: keras.Model | Callable[[], keras.Model], directory: str | Path, config: CompressionConfig | None = None
) -> tuple[CompressionController, keras.Model]:
    """Return the controller and the compressed model of the newest checkpoint in a directory.

    The checkpoint is one of
    ``tf.train.Checkpoint(model=compressed, compression_state=TFCompressionState(controller))``, as
    ``CheckpointManagerCallback`` writes it. Nothing is planned or measured again. If the uncompressed model is
    compiled, the compressed one is too, and the numbers of its optimizer come from the checkpoint; if it is compiled
    later, they come then. To go on training where it stopped, pass
    ``initial_epoch=controller.scheduler.current_epoch + 1`` to ``fit``.

    Args:
        model: the uncompressed model, or a function that makes it.
        directory: folder of checkpoints, or the path of one of them.
        config: by default the configuration in the checkpoint; pass one to register data with it.

    Returns:
        ``(controller, compressed_model)``.

    Raises:
        StateError: there is no checkpoint, it is damaged, or belongs to another model or configuration.

    Example::

        controller, compressed = kc.restore(build_model, "checkpoints")
        compressed.fit(data, epochs=90, initial_epoch=controller.scheduler.current_epoch + 1, callbacks=callbacks)
    """
    path = _newest(directory)
    loader = TFCompressionStateLoader()
    try:
        saved = tf.train.list_variables(path)
        tf.train.Checkpoint(compression_state=loader).restore(path).expect_partial()
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    state = loader.state
    if not isinstance(model, keras.Model) and callable(model):
        model = model()
    if config is None:
        config = CompressionConfig.from_dict(CompressionState.from_dict(state).config)
    controller, compressed = create_compressed_model(model, config, state)
    optimizer = compressed.optimizer
    if hasattr(optimizer, "build") and any(name.startswith("model/optimizer") for name, _ in saved):
        optimizer.build(compressed.trainable_variables)  # or its numbers would come only with the first step
    checkpoint = tf.train.Checkpoint(model=compressed, compression_state=TFCompressionState(controller))
    try:
        checkpoint.restore(path).assert_existing_objects_matched().expect_partial()
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    return controller, compressed


def _newest(directory: str | Path) -> str:
    given = str(directory)
    if tf.io.gfile.exists(given + ".index"):
        return given
    try:
        newest = tf.train.latest_checkpoint(given)
    except _DAMAGE as error:
        raise _damaged(given, error) from None
    if newest is None:
        raise StateError(
            f"There is no checkpoint in '{given}'. Expected: a folder that CheckpointManagerCallback wrote to, or the path "
            "of a checkpoint without its ending. Check the path, or train first."
        )
    return newest


def _damaged(path: str, error: Exception) -> StateError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return StateError(
        f"The checkpoint '{path}' cannot be restored: {reason[:300]}. It is damaged, or belongs to another model. Pass the "
        "path of an older one."
    )
