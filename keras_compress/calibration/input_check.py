"""InputCheck: whether calibration data look like what the first layers of a model expect.

It looks on during the pass that measures ranges, and warns. Nothing is changed, and nothing is an error: a model may well
have been trained on such numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial

import numpy as np
import tensorflow as tf

from keras_compress._keras import input_names, keras
from keras_compress.calibration.column_statistics import ColumnExtremes, ColumnMoments
from keras_compress.calibration.layer_hooks import hooked_calls
from keras_compress.calibration.statistics_pass import ValidRows
from keras_compress.graph import GraphNode, ModelGraph, TensorRef
from keras_compress.graph.topology import first_compute_layers
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CalibratedOp

__all__ = ["InputCheck"]

#: A column counts as lost if the range it shares with others is so many times as wide as its own: 4 of 256 levels.
WIDER = 64
#: Normalized values usually lie within a few units; these are far beyond that, in either direction.
TOO_LARGE, TOO_SMALL = 20.0, 0.02
#: A rescaling to 0 to 1 or -1 to 1 leaves a spread of one or two.
RESCALED_LARGE, RESCALED_SMALL = 10.0, 0.05


class InputCheck:
    """Warns of data that a model probably was not trained on, as a :class:`~.statistics_pass.StatisticsCollector`.

    Args:
        model: the compressed model.
        graph: the model that the edits were applied to.
        ranges: the operations on activations, and the layers whose outputs each of them maps.
        samples: how many samples are looked at.
    """

    def __init__(
        self, model: keras.Model, graph: ModelGraph, ranges: Mapping[CalibratedOp, Iterable[str]], samples: int
    ):
        self.samples = samples
        living = dict(leaf_layers(model))
        self._graph = graph
        calls = {ref.layer: ref.node for ref in reversed(graph.nodes)}  # the first of each layer
        self._shared = {
            op: tuple(sources)
            for op, sources in ranges.items()
            if op.range_variable_shape == () and all(self._is_data(TensorRef(name, calls[name], 0)) for name in sources)
        }
        self._images = {
            name for name, tensor in zip(input_names(model), model.inputs, strict=True) if tensor.shape.rank == 4
        }
        first = first_compute_layers(graph)
        self._first: dict[keras.layers.Layer, GraphNode] = {}
        for node in graph.nodes.values():
            scales = node.spec.scales_data and all(map(self._is_data, node.inputs))
            behind = node.is_a("BatchNormalization") and any(tensor.layer in first for tensor in node.inputs)
            if (scales or behind) and node.ref.layer in living:
                self._first[living[node.ref.layer]] = node
        self._extremes: dict[keras.layers.Layer, list[ColumnExtremes]] = {}
        self._moments: dict[keras.layers.Layer, list[ColumnMoments]] = {}
        self._total = tf.Variable(0, dtype=tf.int64, trainable=False)

    def _is_data(self, tensor: TensorRef) -> bool:
        """Whether a tensor holds values of the model's inputs, moved at most."""
        ways = self._graph.backward([tensor], lambda producer: producer.spec.moves_values)
        ends = [way for way in ways if not self._graph.producer(way).spec.moves_values]
        return bool(ends) and all(self._graph.is_model_input(end) for end in ends)

    def attached(self) -> AbstractContextManager:
        return hooked_calls({layer: partial(self._note, layer) for layer in (*self._shared, *self._first)})

    def begin(self, rows: ValidRows) -> None:
        self._rows = rows
        self._counted = rows.counted(self.samples)
        self._calls: dict[keras.layers.Layer, int] = {}
        self._total.assign_add(tf.cast(rows.samples, tf.int64))

    def _note(self, layer, call, inputs, *others, **arguments):
        outputs = call(inputs, *others, **arguments)
        is_rescaling = isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization))
        watched = outputs if is_rescaling else inputs
        number = self._calls.get(layer, 0)
        self._calls[layer] = number + 1
        rank = watched.shape.rank if isinstance(watched, tf.Tensor) else None
        if rank and (rank == 1 or watched.shape[-1] is not None):
            width = 1 if rank == 1 else watched.shape[-1]
            values = tf.reshape(tf.cast(self._rows.of(watched, self._counted), tf.float32), [-1, width])
            for statistics in self._of_call(layer, number, width):
                statistics.add(values)
        return outputs

    def _of_call(self, layer: keras.layers.Layer, number: int, width: int) -> list[ColumnExtremes | ColumnMoments]:
        """Return what is kept of a call of a layer: no more than is read in the end."""
        kept: list[ColumnExtremes | ColumnMoments] = []
        with tf.init_scope():
            if not isinstance(layer, keras.layers.BatchNormalization):
                extremes = self._extremes.setdefault(layer, [])
                if len(extremes) <= number:
                    images = self._images & set(self._shared.get(layer, ()))
                    extremes.append(ColumnExtremes(width, pixels=bool(images) and not self._first))
                kept.append(extremes[number])
            if isinstance(layer, (keras.layers.BatchNormalization, keras.layers.Normalization)):
                moments = self._moments.setdefault(layer, [])
                if len(moments) <= number:
                    moments.append(ColumnMoments(width))
                kept.append(moments[number])
        return kept

    def assign(self) -> None:
        """Warn of what was seen."""
        for remark in self._remarks():
            warnings.warn(remark, stacklevel=4)

    def _remarks(self) -> Iterator[str]:
        if self._total.numpy() == 1:
            yield (
                "The calibration data are one sample alone, so that ranges hold for this sample only. Pass a few hundred, "
                "as an array with an axis of samples in front."
            )
        for op, sources in self._shared.items():
            seen = self._extremes.get(op, [])
            yield from self._lost_columns(sources, seen)
            if any(columns.are_pixels() for columns in seen):
                yield (
                    f"The images for {list(sources)} are whole numbers from 0 to 255, and the model does not rescale them. "
                    "If it was trained on images divided by 255 or prepared otherwise, pass these."
                )
        for layer, node in self._first.items():
            yield from _far_off(layer, node.ref.layer, self._extremes.get(layer, []), self._moments.get(layer, []))

    def _lost_columns(self, sources: tuple[str, ...], seen: list[ColumnExtremes]) -> Iterator[str]:
        if not seen:
            return
        names = self._column_names(sources, seen)
        lows, highs = (np.concatenate(ends) for ends in zip(*(columns.ends() for columns in seen), strict=True))
        low, high = float(lows.min()), float(highs.max())
        spread = highs - lows
        lost = np.flatnonzero((spread > 0) & (spread * WIDER < high - low))
        if lost.size and np.isfinite(high - low):
            worst = lost[np.argmin(spread[lost])]
            listed = ", ".join(names[index] for index in lost[:10]) + (", …" if lost.size > 10 else "")
            yield (
                f"{lost.size} of {len(names)} input columns are lost in the one range that all of them share, {low:.6g} to "
                f"{high:.6g}: {listed} ({names[worst]} goes from {lows[worst]:.6g} to {highs[worst]:.6g}). Bring the columns "
                "to one scale before training, with keras.layers.Normalization as the first layer or in the data, or give "
                'each column a range of its own with "activations": {"per_channel": true}.'
            )

    def _column_names(self, sources: tuple[str, ...], seen: list[ColumnExtremes]) -> list[str]:
        tensors = [sources[index % len(sources)] for index in range(len(seen))]
        widths = [columns.width for columns in seen]
        return [
            f"'{name}'" if width == 1 else f"column {index} of '{name}'"
            for name, width in zip(tensors, widths, strict=True)
            for index in range(width)
        ]


def _far_off(
    layer: keras.layers.Layer, path: str, extremes: Sequence[ColumnExtremes], moments: Sequence[ColumnMoments]
) -> Iterator[str]:
    """Yield a remark for every call whose data are of another size: what a first layer gives, or a batch normalization gets."""
    if isinstance(layer, keras.layers.BatchNormalization):
        remarks = (_far_from_training(layer, path, call) for call in moments)
    elif isinstance(layer, keras.layers.Normalization):
        remarks = (_far_from_normal(path, *call) for call in zip(extremes, moments, strict=True))
    else:
        remarks = (_far_from_scale(layer, path, call) for call in extremes)
    for remark in remarks:
        if remark is not None:
            yield (
                f"The calibration data are far from what the model expects: {remark}. Pass the data as they were in training: "
                "scaled neither twice nor not at all."
            )


def _is_far(size: float, spread: float) -> bool:
    return size > TOO_LARGE or 0 < spread < TOO_SMALL


def _far_from_training(layer: keras.layers.BatchNormalization, path: str, moments: ColumnMoments) -> str | None:
    expected_mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    untrained = not expected_mean.any() and np.allclose(variance, 1.0)
    mean, deviation = moments.numpy()
    if untrained or expected_mean.shape != mean.shape:
        return None
    expected_deviation = np.sqrt(variance + layer.epsilon)
    distance, spread = np.abs(mean - expected_mean) / expected_deviation, deviation / expected_deviation
    if not _is_far(float(np.median(np.hypot(distance, spread))), float(np.median(spread))):
        return None
    return (
        f"in front of the layer '{path}' their mean is {np.median(distance):.3g} standard deviations from that of the training, "
        f"and their spread {np.median(spread):.3g} times that of the training"
    )


def _far_from_normal(path: str, extremes: ColumnExtremes, moments: ColumnMoments) -> str | None:
    mean, deviation = moments.numpy()
    if not _is_far(float(np.median(np.hypot(mean, deviation))), float(np.median(deviation))):
        return None
    return f"{_leaving(path, extremes)}; it was adapted to bring its data to mean 0 and deviation 1"


def _far_from_scale(layer: keras.layers.Rescaling, path: str, extremes: ColumnExtremes) -> str | None:
    low, high = extremes.range()
    scale = max(float(np.max(np.abs(layer.scale))), 1e-30)
    # What multiplies by more than 1 takes numbers up to 1, and others make such numbers.
    largest = max(abs(low), abs(high)) / max(scale, 1.0)
    spread = (high - low) / max(scale, 1.0)
    if not _is_far(largest * TOO_LARGE / RESCALED_LARGE, spread * TOO_SMALL / RESCALED_SMALL):
        return None
    return f"{_leaving(path, extremes)}; it multiplies by {scale:.4g}, so that it expects numbers up to about {1 / scale:.4g}"


def _leaving(path: str, extremes: ColumnExtremes) -> str:
    low, high = extremes.range()
    return f"they leave the layer '{path}' at {low:.4g} to {high:.4g}"
