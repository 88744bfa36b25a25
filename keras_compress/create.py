"""create_compressed_model: plan the edits of a model, apply them, build the result, bind and initialize its operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_compress._keras import keras
from keras_compress._keras_training import store_random_numbers
from keras_compress.algorithms import BoundOp, SkippedWeight
from keras_compress.arguments import wrong
from keras_compress.config import CompressionConfig, ConfigLike
from keras_compress.controller import CompressionController
from keras_compress.data import Dataset, input_specs
from keras_compress.errors import CompressionError, StateError, short_repr
from keras_compress.graph import Edit, InsertLayer, ModelSnapshot, apply_edits, build, take
from keras_compress.graph.compilation import copy_compilation
from keras_compress.graph.model_check import require_compressible
from keras_compress.graph.variables import leaf_layers
from keras_compress.initialization import initialize, record_data, round_biases
from keras_compress.layers import CompressedLayer, weight_owner
from keras_compress.planning import check_coverage, plan, prepare
from keras_compress.reports import Coverage
from keras_compress.state import CompressionState
from keras_compress.unmoved_schedule import watch_schedule

__all__ = ["bind", "coverage", "create_compressed_model", "uninitialized"]


def create_compressed_model(
    model: keras.Model, config: ConfigLike, compression_state: dict | None = None, *, data: Any = None
) -> tuple[CompressionController, keras.Model]:
    """Return a controller and a compressed copy of ``model``, an ordinary Keras model.

    Args:
        model: a built Functional or Sequential tf-keras model. It is not changed. If it is compiled, the copy comes
            back compiled with the same loss and metrics and a fresh optimizer of the same settings.
        config: what to do: an algorithm, a list of algorithms, a configuration, a dict, or the path of a JSON file.
        compression_state: the state of an earlier compression, from ``controller.get_compression_state()`` or
            ``TFCompressionStateLoader``. Its decisions are used as they are: nothing is planned or measured again, and
            the numbers are expected from a checkpoint.
        data: samples to measure ranges on, as for ``kc.Dataset``, usually the training data. Default: those that
            ``register_default_init_args`` has put into the configuration.

    Returns:
        ``(controller, compressed_model)``.

    Raises:
        UnsupportedModelError: the model is a Keras 3 model, has no graph of layers, is not built, or is compressed.
        ConfigError: the configuration is wrong, or one of its scopes names no layer.
        StateError: the state belongs to another model.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> from keras_compress.algorithms.quantization import Quantization
        >>> import numpy as np
        >>> data = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
        >>> controller, compressed = create_compressed_model(model, Quantization(), data=data)
        >>> compressed(data).shape
        TensorShape([16, 2])
    """
    config = CompressionConfig.of(config)
    if data is not None:
        config = config.with_init_data(Dataset.of(data))
    require_compressible(model)
    if compression_state is not None and not isinstance(compression_state, dict):
        way_out = "Pass what controller.get_compression_state() returned, or the 'state' of a TFCompressionStateLoader."
        raise wrong("compression_state", "a dict", compression_state, way_out, StateError)
    config.warn_about_foreign_keys()
    with model.distribute_strategy.scope():
        return _create(model, config, compression_state)


def _create(
    model: keras.Model, config: CompressionConfig, compression_state: dict | None
) -> tuple[CompressionController, keras.Model]:
    snapshot = prepare(take(model), config)
    if compression_state is None:
        controller = uninitialized(model, config, snapshot)
        done = initialize(controller.parts, controller.model, snapshot, config.init_data)
        if config.init_data is not None:
            round_biases(controller.model, config.target_runtime)
            record_data(controller.parts, controller.model, config.init_data, done.remarks)
        controller.distributed()
        return controller, controller.model
    state = CompressionState.from_dict(compression_state)
    state.check_config(config.to_dict())
    state.check_model(snapshot)
    state.check_unchanged()
    try:
        controller = _assembled(model, config, snapshot, state.edits, state.skipped)
    except CompressionError:
        raise
    except Exception as error:  # of whatever cannot build the model that the decisions make
        raise StateError(
            f"The compression state is damaged: no model can be built of its decisions: {short_repr(error)}. Use another checkpoint."
        ) from error
    controller.with_digest = state.with_digest
    controller.take_position(state)
    return controller, controller.model


def uninitialized(model: keras.Model, config: CompressionConfig, snapshot: ModelSnapshot) -> CompressionController:
    """Return the controller of a compressed copy of ``model`` whose operations still have the numbers they are made with.

    Args:
        model: the uncompressed model.
        config: what to do.
        snapshot: the model as a value, in the form that :func:`~keras_compress.planning.prepare` gives it.
    """
    return _assembled(model, config, snapshot, *plan(snapshot, config))


def _assembled(
    model: keras.Model,
    config: CompressionConfig,
    snapshot: ModelSnapshot,
    edits: Sequence[Sequence[Edit]],
    skipped: Sequence[SkippedWeight],
) -> CompressionController:
    """Build the model that edits of a prepared snapshot of ``model`` make, and the controller over it."""
    covered = check_coverage(snapshot, config, edits, skipped)
    compressed = build(apply_edits(snapshot, [edit for part in edits for edit in part]))
    compressed.output_names = list(model.output_names)  # an output quantizer has its own name
    copy_compilation(model, compressed)
    store_random_numbers(compressed)
    ops = [bind(compressed, part) for part in edits]
    controller = CompressionController(compressed, config, edits, skipped, ops, covered)
    watch_schedule(controller)
    if config.init_data is not None:
        controller.scheduler.steps_per_epoch = config.init_data.number_of_batches(input_specs(compressed))
        record_data(controller.parts, compressed, config.init_data)
    return controller


def bind(model: keras.Model, edits: Sequence[Edit]) -> list[BoundOp]:
    """Return the operation in a live model that each edit made."""
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


def coverage(model: keras.Model, config: ConfigLike) -> Coverage:
    """Return by what each weight of ``model`` would be compressed, or why it would not, without building anything.

    Args:
        model: a built Functional or Sequential tf-keras model; it is only read.
        config: what to do, as for :func:`create_compressed_model`.

    Raises:
        CompressionError: as :func:`create_compressed_model`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
        >>> [row.compressed_by for row in coverage(model, {"compression": {"algorithm": "quantization"}})]
        ['quantization: 8 bits']
    """
    config = CompressionConfig.of(config)
    require_compressible(model)
    snapshot = prepare(take(model), config)
    return check_coverage(snapshot, config, *plan(snapshot, config))
