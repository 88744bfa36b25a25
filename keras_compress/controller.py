"""create_compressed_model and the controller, the only object that changes: it moves operations through training."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.algorithms import (
    BoundOp,
    CompressionAlgorithm,
    CompressionStage,
    LeveledAlgorithm,
    Position,
    SkippedWeight,
    registered_algorithms,
)
from keras_compress.calibration import adapt_batch_norm
from keras_compress.config import CompressionConfig
from keras_compress.data import input_specs
from keras_compress.distribution import broadcast_from_chief
from keras_compress.errors import ConfigError
from keras_compress.export import export_model, format_options
from keras_compress.graph import Edit, InsertLayer, ModelSnapshot, apply_edits, build, take
from keras_compress.graph.compilation import copy_compilation
from keras_compress.graph.model_check import require_compressible
from keras_compress.graph.passes.strip import strip
from keras_compress.graph.variables import leaf_layers
from keras_compress.html_report import report
from keras_compress.layers import CompressedLayer, weight_owner
from keras_compress.planning import cover, plan, prepare
from keras_compress.reports import CompressionStatistics, Coverage, ExportReport, collect_statistics
from keras_compress.scheduler import CompressionScheduler
from keras_compress.state import CompressionState

__all__ = ["CompressionController", "coverage", "create_compressed_model", "uninitialized"]


def create_compressed_model(
    model: keras.Model, config: CompressionConfig | dict, compression_state: dict | None = None
) -> tuple[CompressionController, keras.Model]:
    """Return a controller and a compressed copy of ``model``, an ordinary Keras model.

    Args:
        model: a built Functional or Sequential tf-keras model. It is not changed. If it is compiled, the copy comes
            back compiled with the same loss and metrics and a fresh optimizer of the same settings.
        config: what to do, with the data for initialization registered (see ``register_default_init_args``).
        compression_state: the state of an earlier compression, from ``controller.get_compression_state()`` or
            ``TFCompressionStateLoader``. Its decisions are used as they are: nothing is planned or measured again, and
            the numbers are expected from a checkpoint.

    Returns:
        ``(controller, compressed_model)``.

    Raises:
        UnsupportedModelError: the model is a Keras 3 model, has no graph of layers, is not built, or is compressed.
        ConfigError: the configuration is wrong, or one of its scopes names no layer.
        StateError: the state belongs to another model.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> config = {"compression": {"algorithm": "quantization"}}
        >>> data = tf.random.normal((16, 4))
        >>> from keras_compress.config import register_default_init_args
        >>> controller, compressed = create_compressed_model(model, register_default_init_args(config, data))
        >>> compressed(data).shape
        TensorShape([16, 2])
    """
    if not isinstance(config, CompressionConfig):
        config = CompressionConfig.from_dict(config)
    require_compressible(model)
    config.warn_about_foreign_keys()
    with model.distribute_strategy.scope():
        return _create(model, config, compression_state)


def _create(
    model: keras.Model, config: CompressionConfig, compression_state: dict | None
) -> tuple[CompressionController, keras.Model]:
    if compression_state is None:
        controller = uninitialized(model, config)
        controller._initialize()
        return controller, controller.model
    snapshot = prepare(take(model), config)
    state = CompressionState.from_dict(compression_state)
    state.check_config(config.to_dict())
    state.check_model(snapshot)
    controller = _assembled(model, config, snapshot, state.edits, list(state.skipped))
    controller.scheduler.load_state(state.scheduler)
    return controller, controller.model


def uninitialized(
    model: keras.Model, config: CompressionConfig, snapshot: ModelSnapshot | None = None
) -> CompressionController:
    """Return the controller of a compressed copy of ``model`` whose operations still have the numbers they are made with.

    Args:
        model: the uncompressed model.
        config: what to do.
        snapshot: the model as a value, if it was rewritten before. Default: as it is.
    """
    snapshot = prepare(take(model) if snapshot is None else snapshot, config)
    return _assembled(model, config, snapshot, *plan(snapshot, config))


def _assembled(
    model: keras.Model,
    config: CompressionConfig,
    snapshot: ModelSnapshot,
    edits: Sequence[Sequence[Edit]],
    skipped: Sequence[SkippedWeight],
) -> CompressionController:
    """Build the model that edits of a prepared snapshot of ``model`` make, and the controller over it."""
    coverage = cover(snapshot, config, edits, skipped)
    compressed = build(apply_edits(snapshot, [edit for part in edits for edit in part]))
    compressed.output_names = list(model.output_names)  # a quantizer behind an output has a name of its own
    copy_compilation(model, compressed)
    return CompressionController(compressed, config, edits, skipped, coverage)


def coverage(model: keras.Model, config: CompressionConfig | dict) -> Coverage:
    """Return by what each weight of ``model`` would be compressed, or why it would not, without building anything.

    Args:
        model: a built Functional or Sequential tf-keras model; it is only read.
        config: what to do.

    Raises:
        CompressionError: as :func:`create_compressed_model`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
        >>> [row.compressed_by for row in coverage(model, {"compression": {"algorithm": "quantization"}})]
        ['quantization: 8 bits']
    """
    if not isinstance(config, CompressionConfig):
        config = CompressionConfig.from_dict(config)
    require_compressible(model)
    snapshot = prepare(take(model), config)
    return cover(snapshot, config, *plan(snapshot, config))


class CompressionController:
    """What moves a compressed model through training and out of it. Made by :func:`create_compressed_model`.

    Attributes:
        model: the compressed model.
        config: the configuration it was made with.
        scheduler: ``epoch_step()`` before each epoch and ``step()`` before each optimizer step; the compression
            callbacks do it in ``fit``.
    """

    def __init__(
        self,
        model: keras.Model,
        config: CompressionConfig,
        edits: Sequence[Sequence[Edit]],
        skipped: Sequence[SkippedWeight],
        coverage: Coverage,
    ):
        self.model = model
        self.config = config
        self._edits = [list(part) for part in edits]
        self._skipped = list(skipped)
        self._coverage = coverage
        self._ops = [_bind(model, part) for part in self._edits]
        self._level_by_hand = False
        self.scheduler = CompressionScheduler(self._update, _final_epoch(config), _steps_per_epoch(config, model))
        for algorithm, ops in self.parts:
            if type(algorithm).loss is not CompressionAlgorithm.loss:
                model.add_loss(partial(algorithm.loss, ops))

    @property
    def parts(self) -> list[tuple[CompressionAlgorithm, list[BoundOp]]]:
        """Every algorithm of the configuration with the operations it made."""
        return list(zip(self.config.compression, self._ops, strict=True))

    def _initialize(self) -> None:
        """Give all operations their first numbers: masks first, quantizers last, as they are applied to a weight."""
        parts = sorted(self.parts, key=lambda part: part[0].weight_stage)
        changed = [part[0] for part in parts if part[0].initialize(part[1], self.model, self.config.init_data)]
        self._adapt_batch_norm(changed)
        self.distributed()

    def _update(self, position: Position) -> None:
        changed = [algorithm for algorithm, ops in self.parts if algorithm.update(ops, position)]
        self._adapt_batch_norm([algorithm for algorithm in changed if algorithm.batch_norm_adaptation.on_level_change])

    def _adapt_batch_norm(self, algorithms: Sequence[CompressionAlgorithm]) -> None:
        """Adapt batch normalization once, on as many samples as any of ``algorithms`` asks for."""
        samples = max((a.batch_norm_adaptation.num_bn_adaptation_samples for a in algorithms), default=0)
        if samples and self.config.init_data is not None:
            with self.model.distribute_strategy.scope():
                adapt_batch_norm(self.model, self.config.init_data, samples)

    def set_sparsity_level(self, level: float, run_batchnorm_adaptation: bool = False) -> None:
        """Set the level of every algorithm that has one; the schedule takes over again at its next step unless frozen.

        Args:
            level: share of zeros, in [0, 1).
            run_batchnorm_adaptation: adapt batch normalization to it on the registered data. Default False.

        Raises:
            ConfigError: the level is out of range, no algorithm has a level, or there are no data to adapt on.
        """
        if not 0.0 <= level < 1.0:
            raise ConfigError(f"A sparsity level lies in [0, 1). Received: level={level!r}.")
        if run_batchnorm_adaptation and self.config.init_data is None:
            raise ConfigError(
                "Batch normalization cannot be adapted without data. Expected: a configuration with registered data. "
                "Received: none. Use kc.register_default_init_args(config, train_dataset) before compressing."
            )
        parts = self._parts_with_level()
        for algorithm, ops in parts:
            algorithm.set_level(ops, level)
        self._level_by_hand = True
        if run_batchnorm_adaptation:
            self._adapt_batch_norm([algorithm for algorithm, _ in parts])

    def freeze(self, freeze: bool = True) -> None:
        """Fix the masks or gates of every algorithm that has a level, or let them change again.

        Raises:
            ConfigError: no algorithm has a level.
        """
        for algorithm, ops in self._parts_with_level():
            algorithm.freeze(ops, freeze)

    def _parts_with_level(self) -> list[tuple[LeveledAlgorithm, list[BoundOp]]]:
        parts = [(algorithm, ops) for algorithm, ops in self.parts if isinstance(algorithm, LeveledAlgorithm)]
        if not parts:
            able = sorted(name for name, kind in registered_algorithms().items() if issubclass(kind, LeveledAlgorithm))
            raise ConfigError(
                f"No algorithm of this compression has a level. Expected: one of {able} in the configuration. "
                f"Received: {[algorithm.name for algorithm in self.config.compression]}."
            )
        return parts

    def loss(self) -> tf.Tensor:
        """Return the sum of what the algorithms add to the loss, a float32 scalar; for training loops of one's own."""
        losses = [loss for algorithm, ops in self.parts if (loss := algorithm.loss(ops)) is not None]
        return tf.add_n(losses) if losses else tf.constant(0.0)

    def statistics(self, quickly_collected_only: bool = False) -> CompressionStatistics:
        """Return what is compressed, how, and what stays in floating point and why; prints as a table.

        Args:
            quickly_collected_only: leave out the bytes of the model, which take seconds for a large one. Default False.
        """
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

    def strip(self) -> keras.Model:
        """Return a plain Keras model: layers with the names they had, weights on their grids, activations in float.

        A separable convolution stays the depthwise and the pointwise convolution it was split into. The model is not
        compiled.
        """
        self._warn_if_never_stepped()
        return build(strip(take(self.model)))

    def export_model(self, path: str | Path, save_format: str | None = None, **options: Any) -> ExportReport:
        """Write the model for inference, audit the file and report; see :func:`keras_compress.export.export_model`.

        Where a runtime needs ranges that training does not, they are measured on the registered data.
        """
        self._warn_if_never_stepped()
        if "calibration_data" in format_options(path, save_format):
            options.setdefault("calibration_data", options.get("data", self.config.init_data))
        return export_model(self.model, path, save_format, **options)

    def _warn_if_never_stepped(self) -> None:
        """Warn if the model was trained and its schedule stood still, because nobody stepped the scheduler."""
        steps = int(getattr(getattr(self.model, "optimizer", None), "iterations", 0))
        scheduled = self.scheduler.final_epoch != -1 and not self._level_by_hand
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
            contents: what else was measured: ``data``, ``exports``, ``history``, ``sensitivity``, ``latency``, ``accuracy``.
        """
        return report(self, path, **contents)

    def distributed(self) -> None:
        """Give every worker of ``tf.distribute`` the numbers of the chief.

        Done by :func:`create_compressed_model`, since workers measure ranges on data of their own. To be called by all of
        them again after anything that each has measured by itself.
        """
        broadcast_from_chief(self.model.distribute_strategy, self.model.variables)

    def get_compression_state(self) -> dict:
        """Return decisions and position as JSON-able values; the numbers are variables of the model."""
        return CompressionState(
            config=self.config.to_dict(),
            edits=copy.deepcopy(self._edits),
            skipped=self._skipped,
            scheduler=self.scheduler.get_state(),
        ).to_dict()

    def load_state(self, state: dict) -> None:
        """Continue at the position of a state made by :meth:`get_compression_state`.

        Raises:
            StateError: the state has other decisions than this controller.
        """
        loaded = CompressionState.from_dict(state)
        loaded.check_edits(self._edits)
        self.scheduler.load_state(loaded.scheduler)


def _final_epoch(config: CompressionConfig) -> int | None:
    """Return the epoch from whose start on all algorithms are complete; None if training decides it for one of them."""
    epochs = [algorithm.final_epoch() for algorithm in config.compression]
    return None if None in epochs else max(epoch for epoch in epochs if epoch is not None)


def _steps_per_epoch(config: CompressionConfig, model: keras.Model) -> int | None:
    return None if config.init_data is None else config.init_data.number_of_batches(input_specs(model))


def _bind(model: keras.Model, edits: Sequence[Edit]) -> list[BoundOp]:
    """Find the operation in the living model that each edit made."""
    layers = dict(leaf_layers(model))
    bound = []
    claimed: set[int] = set()
    for edit in edits:
        if isinstance(edit, InsertLayer):
            sources = tuple(source.layer for source in edit.sources)
            bound.append(BoundOp(layers[edit.path], edit.path, sources=sources))
            continue
        wrapper: CompressedLayer = layers[edit.layer]
        name = edit.op["config"]["name"]
        op = next(
            op for path, op in wrapper.operations if (path, op.name) == (edit.weight, name) and id(op) not in claimed
        )
        claimed.add(id(op))
        owner, attribute = weight_owner(wrapper.layer, edit.weight)
        bound.append(BoundOp(op, edit.layer, edit.weight, getattr(owner, attribute)))
    return bound
