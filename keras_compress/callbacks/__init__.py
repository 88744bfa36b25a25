"""What ``fit`` calls: one callback per file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keras_compress._keras import keras
from keras_compress.algorithms import OptimizerGuide
from keras_compress.callbacks.checkpoint_manager_callback import CheckpointManagerCallback
from keras_compress.callbacks.optimizer_callback import OptimizerCallback
from keras_compress.callbacks.remembered_callbacks import RememberedCallbacks
from keras_compress.callbacks.save_best_compressed import SaveBestCompressed
from keras_compress.callbacks.scheduler_callback import SchedulerCallback
from keras_compress.callbacks.statistics_callback import StatisticsCallback
from keras_compress.controller import CompressionController

__all__ = [
    "CheckpointManagerCallback",
    "OptimizerCallback",
    "RememberedCallbacks",
    "SaveBestCompressed",
    "SchedulerCallback",
    "StatisticsCallback",
    "create_compression_callbacks",
]


def create_compression_callbacks(
    controller: CompressionController,
    log_tensorboard: bool | str | Path = True,
    log_text: bool = False,
    log_dir: str | Path | None = None,
    *,
    resume: bool = False,
    remember: Sequence[keras.callbacks.Callback] = (),
) -> list[keras.callbacks.Callback]:
    """Return the callbacks that ``fit`` needs: one that steps the scheduler, one that logs statistics, and one that
    guides the optimizer where an algorithm has something to say about learning rate or weight decay.

    Args:
        controller: from ``create_compressed_model``.
        log_tensorboard: write scalars into ``log_dir/compression``. Default True. A path is taken for ``log_dir``.
        log_text: print the statistics table before training and the numbers after every epoch. Default False.
        log_dir: folder for TensorBoard; by default ``log_dir`` of the configuration, and no TensorBoard without either.
        resume: after ``kc.restore``, let ``fit``, called with the arguments it had before, go on at the very batch where the
            checkpoint was saved; without a restored checkpoint it starts at the beginning. Default False.
        remember: callbacks of Keras or of one's own, passed to ``fit`` as well, whose numbers (as the patience of
            ``EarlyStopping``) checkpoints keep. Default: none.
    """
    if not isinstance(log_tensorboard, bool):
        log_dir, log_tensorboard = log_tensorboard, True
    log_dir = log_dir or controller.config.log_dir
    guided = any(isinstance(algorithm, OptimizerGuide) for algorithm in controller.config.compression)
    return [
        SchedulerCallback(controller.scheduler, resume=resume),
        *([OptimizerCallback(controller)] if guided else []),
        StatisticsCallback(controller, log_dir if log_tensorboard else None, log_text=log_text),
        *([RememberedCallbacks(controller, remember)] if remember else []),
    ]
