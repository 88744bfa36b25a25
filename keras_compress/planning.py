"""Planning: all algorithms of a configuration decide together what to do to a model, before anything is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from keras_compress.algorithms import Plan, SkippedWeight
from keras_compress.config import CompressionConfig
from keras_compress.errors import ConfigError, UnsupportedModelError
from keras_compress.graph import Edit, ModelGraph, ModelSnapshot, WrapWeight
from keras_compress.layers.weight_op import Stage, op_stage
from keras_compress.reports import Coverage, coverage_of

__all__ = ["check_coverage", "plan", "prepare"]


def prepare(snapshot: ModelSnapshot, config: CompressionConfig) -> ModelSnapshot:
    """Return the model in the form that all algorithms plan on. What is prepared already stays as it is."""
    for algorithm in config.compression:
        snapshot = algorithm.prepare(snapshot, config.plan_context())
    return snapshot


def plan(snapshot: ModelSnapshot, config: CompressionConfig) -> tuple[Sequence[Sequence[Edit]], list[SkippedWeight]]:
    """Let every algorithm plan on the same graph; return the edits by algorithm, and what none of them touches.

    They plan in the order in which their operations are applied to a weight, so that a layer that is binarized is not
    quantized as well.

    Raises:
        ConfigError: two algorithms plan on the same weight or edge, or a scope names no layer.
    """
    graph = ModelGraph(snapshot)
    context = config.plan_context()
    planned: dict[int, Plan] = {}
    for number, algorithm in sorted(enumerate(config.compression), key=lambda item: item[1].weight_stage):
        planned[number] = algorithm.plan(graph, context)
        if algorithm.weight_stage is Stage.BINARIZE:
            binary = {edit.layer for edit in planned[number].edits if isinstance(edit, WrapWeight)}
            context = dataclasses.replace(context, binary_layers=context.binary_layers | binary)
    plans = [planned[number] for number in range(len(config.compression))]
    edits = [list(part.edits) for part in plans]
    _refuse_conflicts(config, edits)
    touched = {(edit.layer, edit.weight) for part in edits for edit in part if isinstance(edit, WrapWeight)}
    skipped = [weight for part in plans for weight in part.skipped if (weight.layer, weight.weight) not in touched]
    return edits, list(dict.fromkeys(skipped))


def _refuse_conflicts(config: CompressionConfig, edits: Sequence[Sequence[Edit]]) -> None:
    """Raise a ConfigError if two algorithms plan the same kind of operation on the same weight or edge."""
    owners: dict[tuple, str] = {}
    masked: dict[tuple[str, str], str] = {}
    for algorithm, part in zip(config.compression, edits, strict=True):
        if algorithm.weight_stage is Stage.MASK:
            masked.update({(edit.layer, edit.weight): algorithm.name for edit in part if isinstance(edit, WrapWeight)})
    for algorithm, part in zip(config.compression, edits, strict=True):
        for edit in part:
            if isinstance(edit, WrapWeight):
                places = [(edit.layer, edit.weight, op_stage(edit.op).name)]
                if algorithm.weight_stage is Stage.BINARIZE and (edit.layer, edit.weight) in masked:
                    raise ConfigError(
                        f"'{masked[edit.layer, edit.weight]}' and '{algorithm.name}' cannot share the weight "
                        f"'{edit.weight}' of '{edit.layer}': a binary weight has two values, and neither is zero. Give "
                        "them different layers with 'ignored_scopes' or 'target_scopes'."
                    )
            else:
                places = [(source.layer, str(source), str(ref)) for source in edit.sources for ref in edit.consumers]
            for place in places:
                if place in owners:
                    raise ConfigError(
                        f"Two algorithms, '{owners[place]}' and '{algorithm.name}', want to compress '{place[0]}' in the "
                        "same way. Give them different layers with 'ignored_scopes' or 'target_scopes'."
                    )
                owners[place] = algorithm.name


def check_coverage(
    snapshot: ModelSnapshot,
    config: CompressionConfig,
    edits: Sequence[Sequence[Edit]],
    skipped: Sequence[SkippedWeight],
) -> Coverage:
    """Return by what each weight is compressed, or why it is not.

    Args:
        snapshot: the model that was planned on.
        config: the configuration.
        edits: those of each algorithm.
        skipped: the weights that algorithms left alone, with the reasons.

    Raises:
        UnsupportedModelError: the configuration is strict, and a weight would stay in floating point unasked.
    """
    names = [algorithm.name for algorithm in config.compression]
    scopes = [algorithm.scope(config.plan_context()) for algorithm in config.compression]
    graph = ModelGraph(snapshot)
    outside = [path for path, _ in graph.layers() if not any(path in scope for scope in scopes)]
    found = coverage_of(graph, list(zip(names, edits, strict=True)), skipped, outside)
    if config.strict and found.unexplained:
        listed = "\n".join(f"    {row.layer}: {row.weight}: {row.reason}" for row in found.unexplained)
        raise UnsupportedModelError(
            f"{len(found.unexplained)} weights would stay in floating point, and the configuration is strict:\n{listed}\n"
            "Register the layers, list them under 'ignored_scopes', or set \"strict\": false."
        )
    return found
