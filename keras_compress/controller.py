"""CompressionController: the only object that changes. It moves the operations of a compressed model through training."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.algorithms import (
    BoundOp,
    CompressionAlgorithm,
    CompressionStage,
    Position,
    RegularizedAlgorithm,
    ScheduledAlgorithm,
    SkippedWeight,
    registered_algorithms,
)
from keras_compress.arguments import flag, wrong
from keras_compress.config import CompressionConfig
from keras_compress.errors import ConfigError, short_repr
from keras_compress.export import export_model, strip
from keras_compress.html_report.report import report
from keras_compress.initialization import adapt_to_changes, share_numbers
from keras_compress.nncf_names import NamesOfNNCF
from keras_compress.reports import CompressionStatistics, Coverage, ExportReport, collect_statistics
from keras_compress.scheduler import CompressionScheduler
from keras_compress.state import CompressionState, put_back_random_numbers, random_numbers

if TYPE_CHECKING:
    from keras_compress.graph import Edit

__all__ = ["CompressionController", "require_controller"]


class CompressionController(NamesOfNNCF):
    """What moves a compressed model through training and out of it. Made by :func:`create_compressed_model`.

    Attributes:
        model: the compressed model.
        config: the configuration it was made with.
        scheduler: ``epoch_step()`` before each epoch and ``step()`` before each optimizer step; the compression
            callbacks do it in ``fit``.

    Example:
        >>> from keras_compress.create import create_compressed_model
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
        >>> controller, _ = create_compressed_model(model, {"compression": {"algorithm": "magnitude_sparsity"}})
        >>> controller.compression_stage()
        <CompressionStage.UNCOMPRESSED: 0>
    """

    nncf_name = "controller"

    def __init__(
        self,
        model: keras.Model,
        config: CompressionConfig,
        edits: Sequence[Sequence[Edit]],
        skipped: Sequence[SkippedWeight],
        ops: Sequence[Sequence[BoundOp]],
        coverage: Coverage,
    ):
        self.model = model
        self.config = config
        self._edits = [list(part) for part in edits]
        self._skipped = list(skipped)
        self._ops = [list(part) for part in ops]
        self._coverage = coverage
        #: Whether a level was set by hand, so that the schedule no longer decides.
        self.level_by_hand = False
        self._memories: dict[str, Callable[[], dict]] = {}
        self._remembered: dict[str, dict] = {}
        #: Whether states are written with a hash of the decisions; not for one that was read without.
        self.with_digest = True
        self.scheduler = CompressionScheduler(self._update, _final_epoch(config))
        for algorithm, bound in self.parts:
            if isinstance(algorithm, RegularizedAlgorithm):
                model.add_loss(partial(algorithm.loss, bound))

    @property
    def parts(self) -> list[tuple[CompressionAlgorithm, list[BoundOp]]]:
        """Every algorithm of the configuration with the operations it made."""
        return list(zip(self.config.compression, self._ops, strict=True))

    def _update(self, position: Position) -> None:
        changed = [algorithm for algorithm, ops in self.parts if algorithm.update(ops, position)]
        self._adapt_batch_norm([algorithm for algorithm in changed if algorithm.batch_norm_adaptation.on_level_change])

    def _adapt_batch_norm(self, algorithms: Sequence[CompressionAlgorithm]) -> None:
        with self.model.distribute_strategy.scope():
            adapt_to_changes(self.model, algorithms, self.config.init_data)

    def set_sparsity_level(self, level: float, run_batchnorm_adaptation: bool = False) -> None:
        """Set the level of every algorithm that has one; the schedule takes over again at its next step unless frozen.

        Args:
            level: share of zeros, in [0, 1).
            run_batchnorm_adaptation: adapt batch normalization to it on the registered data. Default False.

        Raises:
            ConfigError: the level is out of range, no algorithm has a level, or there are no data to adapt on.
        """
        if isinstance(level, bool) or not isinstance(level, Real) or not 0.0 <= level < 1.0:
            raise ConfigError(
                f"A sparsity level lies in [0, 1). Received: level={short_repr(level)}. Expected: the share of zeros, as 0.5."
            )
        run_batchnorm_adaptation = flag("run_batchnorm_adaptation", run_batchnorm_adaptation)
        if run_batchnorm_adaptation and self.config.init_data is None:
            raise ConfigError(
                "Batch normalization cannot be adapted without data. Expected: a configuration with registered data. "
                "Received: none. Use kc.register_default_init_args(config, train_dataset) before compressing."
            )
        parts = self._parts_with_level()
        for algorithm, ops in parts:
            algorithm.set_level(ops, level)
        self.level_by_hand = True
        if run_batchnorm_adaptation:
            self._adapt_batch_norm([algorithm for algorithm, _ in parts])

    def freeze(self, freeze: bool = True) -> None:
        """Fix the masks or gates of every algorithm that has a level, or let them change again.

        Raises:
            ConfigError: no algorithm has a level.
        """
        freeze = flag("freeze", freeze)
        for algorithm, ops in self._parts_with_level():
            algorithm.freeze(ops, freeze)

    def _parts_with_level(self) -> list[tuple[ScheduledAlgorithm, list[BoundOp]]]:
        parts = [(algorithm, ops) for algorithm, ops in self.parts if isinstance(algorithm, ScheduledAlgorithm)]
        if not parts:
            able = sorted(
                name for name, kind in registered_algorithms().items() if issubclass(kind, ScheduledAlgorithm)
            )
            raise ConfigError(
                f"No algorithm of this compression has a level. Expected: one of {able} in the configuration. "
                f"Received: {[algorithm.name for algorithm in self.config.compression]}."
            )
        return parts

    def loss(self) -> tf.Tensor:
        """Return the sum of what the algorithms add to the loss, a float32 scalar; for training loops of one's own."""
        regularized = ((part, ops) for part, ops in self.parts if isinstance(part, RegularizedAlgorithm))
        losses = [loss for algorithm, ops in regularized if (loss := algorithm.loss(ops)) is not None]
        return tf.add_n(losses) if losses else tf.constant(0.0)

    def statistics(self, quickly_collected_only: bool = False) -> CompressionStatistics:
        """Return what is compressed, how, and what stays in floating point and why; prints as a table.

        Args:
            quickly_collected_only: leave out the bytes of the model, which take seconds for a large one. Default False.
        """
        quickly_collected_only = flag("quickly_collected_only", quickly_collected_only)
        stage = self.compression_stage().name
        numbers = self.algorithm_statistics()
        return collect_statistics(self.model, self._coverage, numbers, stage, quickly=quickly_collected_only)

    def algorithm_statistics(self) -> dict[str, dict[str, float]]:
        """Return the numbers each algorithm reports, by its name; cheap enough for every epoch."""
        return {algorithm.name: algorithm.statistics(ops) for algorithm, ops in self.parts}

    def compression_stage(self) -> CompressionStage:
        """Return how far compression has come over all algorithms."""
        stages = {algorithm.stage(ops, self.scheduler.position) for algorithm, ops in self.parts}
        return stages.pop() if len(stages) == 1 else CompressionStage.PARTIALLY_COMPRESSED

    @property
    def compression_rate(self) -> float | None:
        """The share of weights removed, in [0, 1]; None if no algorithm removes any."""
        rates = [rate for algorithm, ops in self.parts if (rate := algorithm.compression_rate(ops)) is not None]
        return max(rates) if rates else None

    @compression_rate.setter
    def compression_rate(self, level: float) -> None:
        self.set_sparsity_level(level)

    def strip(self, do_copy: bool = True, *, keep_activations: bool = False) -> keras.Model:
        """Return a plain Keras model: layers with the names they had, and weights on their grids.

        A separable convolution stays the depthwise and the pointwise convolution it was split into. The model is not
        compiled.

        Args:
            do_copy: without effect, for scripts of NNCF: the model is a new one in any case.
            keep_activations: leave quantizers of activations in the model, with fixed ranges. Default False: activations are
                in floating point.
        """
        flag("do_copy", do_copy)
        self._warn_if_never_stepped()
        return strip(self.model, keep_activations=keep_activations)

    def export_model(self, path: str | Path, save_format: str | None = None, **options: Any) -> ExportReport:
        """Write the model for inference, audit the file and report; see :func:`keras_compress.export.export_model`.

        Where a runtime needs ranges that training does not, they are measured on the registered data.
        """
        self._warn_if_never_stepped()
        return export_model(self.model, path, save_format, **options)

    def _warn_if_never_stepped(self) -> None:
        """Warn if the model was trained and the scheduler never stepped."""
        steps = int(getattr(getattr(self.model, "optimizer", None), "iterations", 0))
        scheduled = self.scheduler.final_epoch != -1 and not self.level_by_hand
        if steps and scheduled and self.scheduler.current_epoch < 0:
            warnings.warn(
                f"The model was trained for {steps} steps, and its schedule never began. Pass "
                "kc.create_compression_callbacks(controller) to 'fit', or call controller.scheduler.epoch_step() before each "
                "epoch of a loop of your own.",
                stacklevel=3,
            )

    def report(self, path: str | Path, **contents: Any) -> Path:
        """Write a report on the model as one HTML file that fits a phone; see :func:`keras_compress.html_report.report`.

        Args:
            path: the file.
            contents: what else was measured: ``data``, ``exports``, ``history``, ``sensitivity``, ``latency``,
                ``accuracy``.
        """
        return report(self, path, **contents)

    def distributed(self) -> None:
        """Give every worker of ``tf.distribute`` the numbers of the chief.

        Done by :func:`create_compressed_model`, since workers measure ranges on data of their own. To be called by all
        of them again after anything that each has measured by itself.
        """
        share_numbers(self.model)

    def get_compression_state(self) -> dict:
        """Return decisions and position as JSON-able values; the numbers are variables of the model."""
        return CompressionState(
            config=self.config.to_dict(),
            edits=copy.deepcopy(self._edits),
            skipped=self._skipped,
            scheduler=self.scheduler.get_state(),
            fit=self.scheduler.fit_position,
            random=random_numbers(self.model),
            callbacks={**self._remembered, **{key: memory() for key, memory in self._memories.items()}},
            by_hand=self.level_by_hand,
            with_digest=self.with_digest,
        ).to_dict()

    def remember(self, key: str, memory: Callable[[], dict]) -> dict | None:
        """Keep what a callback remembers in every checkpoint, and return what the restored one holds of it.

        Args:
            key: tells callbacks apart; the same one in every process.
            memory: returns JSON-able values; called whenever a checkpoint is saved.

        Returns:
            The values in the checkpoint that was restored, the first time they are asked for; None without any.
        """
        self._memories[key] = memory
        return self._remembered.pop(key, None)

    def load_state(self, state: dict) -> None:
        """Continue at the position of a state made by :meth:`get_compression_state`.

        Raises:
            StateError: the state has other decisions than this controller.
        """
        loaded = CompressionState.from_dict(state)
        loaded.check_edits(self._edits)
        loaded.check_unchanged()
        self.take_position(loaded)

    def take_position(self, state: CompressionState) -> None:
        """Go to the position of a state whose decisions are those of this controller."""
        self.scheduler.load_state(state.scheduler)
        self.scheduler.restore_fit(state.fit)
        self.level_by_hand = state.by_hand
        self._remembered = dict(state.callbacks)
        put_back_random_numbers(self.model, state.random)


def _final_epoch(config: CompressionConfig) -> int | None:
    """Return the epoch from whose start on all algorithms are complete; None if training decides it for one of them."""
    epochs = [algorithm.final_epoch() for algorithm in config.compression]
    return None if None in epochs else max(epoch for epoch in epochs if epoch is not None)


def require_controller(value: Any) -> None:
    """Raise a ConfigError unless ``value`` is a controller."""
    if not isinstance(value, CompressionController):
        raise wrong(
            "controller", "the controller from kc.create_compressed_model", value, "It is the first of the two results."
        )
