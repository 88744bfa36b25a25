"""restore: a compressed model and its controller, back from a checkpoint, in one call."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_compress._keras import innermost_optimizer, keras
from keras_compress._keras_training import global_seed, not_in_checkpoints, optimizer_name
from keras_compress.arguments import checked_path, function
from keras_compress.checkpoint_files import latest_checkpoint, whole_checkpoints
from keras_compress.config import CompressionConfig
from keras_compress.controller import CompressionController
from keras_compress.create import create_compressed_model
from keras_compress.errors import StateError, short_repr
from keras_compress.fit_position import FitPosition
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
    compiled, the compressed one is too, and the numbers of its optimizer come from the checkpoint if it has some;
    if it is compiled later, they come then. To go on training at the very batch where it stopped, pass
    ``create_compression_callbacks(controller, resume=True)`` to ``fit``, called as before. If this process has no global
    seed, the one that the training had is set: arrays are shuffled as it would have shuffled them.

    Args:
        model: the uncompressed model, or a function that makes it.
        directory: folder of checkpoints, or the path of one of them.
        config: by default the configuration in the checkpoint, without its ``log_dir``, since a file does not say where to write;
            pass one to register data with it.

    Returns:
        ``(controller, compressed_model)``.

    Raises:
        StateError: there is no checkpoint, it is damaged, or belongs to another model, configuration or optimizer.

    Warns if the newest checkpoint is missing, and takes the newest one whose files are there.

    Example::

        controller, compressed = kc.restore(build_model, "checkpoints")
        callbacks = kc.create_compression_callbacks(controller, resume=True)
        compressed.fit(data, epochs=90, callbacks=callbacks)
    """
    if not isinstance(model, keras.Model):
        function("model", model)
    path = _newest(checked_path("directory", directory, StateError))
    config = None if config is None else CompressionConfig.of(config)
    loader = TFCompressionStateLoader()
    try:
        saved = dict(tf.train.list_variables(path))
        tf.train.Checkpoint(compression_state=loader).restore(path).expect_partial()
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    state = loader.state
    if not isinstance(model, keras.Model) and callable(model):
        model = model()
    if config is None:
        config = CompressionConfig.from_dict(_without_log_dir(CompressionState.from_dict(state).config, path))
    controller, compressed = create_compressed_model(model, config, state)
    _prepare_optimizer(compressed, saved, controller.scheduler.fit_position, path)
    checkpoint = tf.train.Checkpoint(model=compressed, compression_state=TFCompressionState(controller))
    try:
        with _without_optimizer(compressed, unless=_of_the_optimizer(saved)):
            checkpoint.restore(path).assert_existing_objects_matched().expect_partial()
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    position = controller.scheduler.fit_position
    if position is not None and position.seed is not None and global_seed() is None:
        tf.random.set_seed(position.seed)
    return controller, compressed


def _of_the_optimizer(saved: dict[str, list[int]]) -> dict[str, list[int]]:
    """Return the shapes of the optimizer's variables in a checkpoint, by their names."""
    return {name: shape for name, shape in saved.items() if name.startswith("model/optimizer/")}


@contextmanager
def _without_optimizer(model: keras.Model, unless: dict) -> Iterator[None]:
    """Leave the optimizer as it is while a model is restored from a checkpoint that has none."""
    if model.optimizer is None or unless:
        yield
        return
    with not_in_checkpoints(model, "optimizer"):
        yield


def _prepare_optimizer(
    model: keras.Model, saved: dict[str, list[int]], position: FitPosition | None, path: str
) -> None:
    """Make the optimizer's variables that the checkpoint has, or their numbers would come only with the first step.

    Before its first step an optimizer has none, and neither has its checkpoint.
    """
    optimizer = model.optimizer
    if optimizer is None or not _of_the_optimizer(saved):
        return
    inner = innermost_optimizer(optimizer)
    before = None if position is None else position.optimizer
    if before is not None and before != optimizer_name(model):
        raise _other_optimizer(path, model, f"it was saved with {before}")
    numbers = {name: re.search(r"/_variables/(\d+)/", name) for name in _of_the_optimizer(saved)}
    found = {int(number.group(1)): saved[name] for name, number in numbers.items() if number}
    if not found or not hasattr(optimizer, "build"):
        return
    optimizer.build(model.trainable_variables)
    present = {index: list(variable.shape) for index, variable in enumerate(inner.variables)}
    present = {index: shape for index, shape in present.items() if inner.variables[index] is not inner.iterations}
    if found != present:
        raise _other_optimizer(path, model, f"it has {len(found)} numbers for the weights, and this one {len(present)}")


def _other_optimizer(path: str, model: keras.Model, difference: str) -> StateError:
    return StateError(
        f"The checkpoint '{path}' belongs to another optimizer, or to other weights that train: {difference}. Expected: the "
        f"optimizer of the checkpoint. Received: {optimizer_name(model)}. Compile the model with that one before "
        "kc.restore; to begin with another one, compile again after it."
    )


def _newest(directory: str | Path) -> str:
    given = str(directory)
    if tf.io.gfile.exists(given + ".index"):
        return given
    try:
        newest = latest_checkpoint(given)
    except _DAMAGE as error:
        raise _damaged(given, error) from None
    if newest is None:
        raise StateError(
            f"There is no checkpoint in '{given}'. Expected: a folder that CheckpointManagerCallback wrote to, or the path "
            "of a checkpoint without its ending. Check the path, or train first."
        )
    return newest


def _without_log_dir(config: Any, path: str) -> Any:
    """Return a saved configuration without the folder that it names, with a warning if it names one."""
    if not isinstance(config, Mapping) or config.get("log_dir") is None:
        return config
    warnings.warn(
        f"The checkpoint '{path}' names a folder for logs, {short_repr(config['log_dir'])}, and a checkpoint does not say where to "
        "write. To write logs, pass log_dir=… to create_compression_callbacks, or the configuration to restore.",
        stacklevel=3,
    )
    return {key: value for key, value in config.items() if key != "log_dir"}


def _damaged(path: str, error: Exception) -> StateError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    others = [other for other in whole_checkpoints(Path(path).parent) if other != path]
    return StateError(
        f"The checkpoint '{path}' cannot be restored: {reason[:300]}. It is damaged, or belongs to another model or optimizer. "
        + (f"Pass the path of an older one: {others[-3:]} are there." if others else "There is no other in the folder.")
    )
