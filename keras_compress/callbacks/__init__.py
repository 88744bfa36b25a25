"""What ``fit`` calls: one callback per file."""

from __future__ import annotations

import os
from collections.abc import Sequence

from keras_compress._keras import keras
from keras_compress.algorithms import OptimizerGuide
from keras_compress.algorithms.target_runtime import rounds_biases
from keras_compress.arguments import checked_path, flag, wrong
from keras_compress.callbacks.bias_grid_callback import BiasGridCallback
from keras_compress.callbacks.checkpoint_manager_callback import CheckpointManagerCallback
from keras_compress.callbacks.finite_loss_callback import FiniteLossCallback
from keras_compress.callbacks.optimizer_callback import OptimizerCallback
from keras_compress.callbacks.remembered_callbacks import RememberedCallbacks
from keras_compress.callbacks.save_best_compressed import SaveBestCompressed
from keras_compress.callbacks.scheduler_callback import SchedulerCallback
from keras_compress.callbacks.statistics_callback import StatisticsCallback
from keras_compress.controller import CompressionController, require_controller
from keras_compress.errors import ConfigError

__all__ = [
    "BiasGridCallback",
    "CheckpointManagerCallback",
    "FiniteLossCallback",
    "OptimizerCallback",
    "RememberedCallbacks",
    "SaveBestCompressed",
    "SchedulerCallback",
    "StatisticsCallback",
    "create_compression_callbacks",
]


def create_compression_callbacks(
    controller: CompressionController,
    log_tensorboard: bool | str | os.PathLike | None = True,
    log_text: bool = False,
    log_dir: str | os.PathLike | None = None,
    *,
    resume: bool = False,
    remember: Sequence[keras.callbacks.Callback] = (),
) -> list[keras.callbacks.Callback]:
    """Return the callbacks that ``fit`` needs: one that steps the scheduler, one that logs statistics, one that
    guides the optimizer where an algorithm has something to say about learning rate or weight decay, one that warns
    once if the loss is no longer finite, and for a target runtime that rounds biases one that does the same after every epoch.

    Args:
        controller: from ``create_compressed_model``.
        log_tensorboard: write scalars into ``log_dir/compression``. Default True. A path in its place is ``log_dir``.
        log_text: print the statistics table before training and the numbers after every epoch. Default False.
        log_dir: folder for TensorBoard; by default ``log_dir`` of the configuration, and no TensorBoard without either.
        resume: after ``kc.restore``, let ``fit``, called with the arguments it had before, go on at the very batch where the
            checkpoint was saved; without a restored checkpoint it starts at the beginning. Default False.
        remember: callbacks of Keras or of one's own, passed to ``fit`` as well, whose numbers (as the patience of
            ``EarlyStopping``) checkpoints keep. Default: none.

    Raises:
        ConfigError: an argument is of another type, or two folders are given.

    Example:
        >>> from keras_compress.create import create_compressed_model
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
        >>> controller, _ = create_compressed_model(model, {"compression": {"algorithm": "magnitude_sparsity"}})
        >>> [type(callback).__name__ for callback in create_compression_callbacks(controller, log_tensorboard=False)]
        ['SchedulerCallback', 'StatisticsCallback', 'FiniteLossCallback']
    """
    require_controller(controller)
    log_text, resume = flag("log_text", log_text), flag("resume", resume)
    if not isinstance(remember, (list, tuple)) or not all(
        isinstance(one, keras.callbacks.Callback) for one in remember
    ):
        raise wrong("remember", "callbacks of Keras in a list", remember)
    folder = None if log_tensorboard is None or isinstance(log_tensorboard, bool) else log_tensorboard
    if folder is not None and log_dir is not None:
        raise ConfigError(
            f"Two folders are given for TensorBoard. Expected: one, as log_dir={str(log_dir)!r}. Received: "
            f"log_tensorboard={str(folder)!r} and log_dir={str(log_dir)!r}. Give log_tensorboard as True or False."
        )
    if folder is not None:
        log_dir = checked_path("log_tensorboard", folder)
    log_dir = controller.config.log_dir if log_dir is None else checked_path("log_dir", log_dir)
    guided = any(isinstance(algorithm, OptimizerGuide) for algorithm in controller.config.compression)
    return [
        SchedulerCallback(controller.scheduler, resume=resume),
        *([BiasGridCallback(controller)] if rounds_biases(controller.config.target_runtime) else []),
        *([OptimizerCallback(controller)] if guided else []),
        StatisticsCallback(controller, log_dir if log_tensorboard is not False else None, log_text=log_text),
        FiniteLossCallback(controller),
        *([RememberedCallbacks(controller, remember)] if remember else []),
    ]
