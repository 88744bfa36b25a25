"""InputCheck: whether calibration data look like what the first layers of a model expect.

It looks on during the pass that measures ranges, and warns. Nothing is changed, and nothing is an error: a model may well
have been trained on such numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
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
#: Whole numbers that reach this far are taken for the pixels of an image file.
PIXELS = 128


class _Columns:
    """Extremes, mean and mean square of every column, the last axis, of the tensors a layer is called on."""

    def __init__(self, width: int):
        self.low = tf.Variable(tf.fill([width], np.float32(np.inf)), trainable=False)
        self.high = tf.Variable(tf.fill([width], np.float32(-np.inf)), trainable=False)
        self._sums = tf.Variable(tf.zeros([2, width], tf.float64), trainable=False)
        self._count = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self._whole = tf.Variable(True, trainable=False)

    def add(self, tensor: tf.Tensor) -> None:
        values = tf.reshape(tf.cast(tensor, tf.float32), [-1, self.low.shape[0]])
        self.low.assign(tf.minimum(self.low, tf.reduce_min(values, axis=0)))
        self.high.assign(tf.maximum(self.high, tf.reduce_max(values, axis=0)))
        double = tf.cast(values, tf.float64)
        self._sums.assign_add(tf.stack([tf.reduce_sum(double, axis=0), tf.reduce_sum(tf.square(double), axis=0)]))
        self._count.assign_add(tf.cast(tf.shape(values)[0], tf.float64))
        self._whole.assign(tf.logical_and(self._whole, tf.reduce_all(tf.equal(values, tf.round(values)))))

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        return self.low.numpy(), self.high.numpy()

    def are_pixels(self) -> bool:
        """Whether all values are whole numbers from 0 to 255, and some of them large."""
        low, high = self.ends()
        return bool(self._whole.numpy()) and len(low) in (1, 3, 4) and low.min() >= 0 and PIXELS <= high.max() <= 255

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of every column."""
        mean, square = self._sums.numpy() / max(self._count.numpy(), 1.0)
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


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
            name for name, tensor in zip(model.input_names, model.inputs, strict=True) if tensor.shape.rank == 4
        }
        first = first_compute_layers(graph)
        self._first: dict[keras.layers.Layer, GraphNode] = {}
        for node in graph.nodes.values():
            scales = node.is_a("Rescaling", "Normalization") and all(map(self._is_data, node.inputs))
            behind = node.is_a("BatchNormalization") and any(tensor.layer in first for tensor in node.inputs)
            if (scales or behind) and node.ref.layer in living:
                self._first[living[node.ref.layer]] = node
        self._seen: dict[keras.layers.Layer, list[_Columns]] = {}
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
            seen = self._seen.setdefault(layer, [])
            if len(seen) <= number:
                with tf.init_scope():
                    seen.append(_Columns(1 if rank == 1 else watched.shape[-1]))
            seen[number].add(self._rows.of(watched, self._counted))
        return outputs

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
            seen = self._seen.get(op, [])
            yield from self._lost_columns(sources, seen)
            if self._images & set(sources) and not self._first and any(columns.are_pixels() for columns in seen):
                yield (
                    f"The images for {list(sources)} are whole numbers from 0 to 255, and the model does not rescale them. "
                    "If it was trained on images divided by 255 or prepared otherwise, pass these."
                )
        for layer, node in self._first.items():
            for columns in self._seen.get(layer, []):
                yield from _far_off(layer, node, columns)

    def _lost_columns(self, sources: tuple[str, ...], seen: list[_Columns]) -> Iterator[str]:
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

    def _column_names(self, sources: tuple[str, ...], seen: list[_Columns]) -> list[str]:
        tensors = [sources[index % len(sources)] for index in range(len(seen))]
        widths = [columns.low.shape[0] for columns in seen]
        return [
            f"'{name}'" if width == 1 else f"column {index} of '{name}'"
            for name, width in zip(tensors, widths, strict=True)
            for index in range(width)
        ]


def _far_off(layer: keras.layers.Layer, node: GraphNode, columns: _Columns) -> Iterator[str]:
    """Yield a remark if what comes out of a first layer, or goes into a first batch normalization, is of another size."""
    low, high = float(columns.ends()[0].min()), float(columns.ends()[1].max())
    if isinstance(layer, keras.layers.BatchNormalization):
        expected = layer.moving_mean.numpy(), np.sqrt(layer.moving_variance.numpy() + layer.epsilon)
        untrained = not expected[0].any() and np.allclose(layer.moving_variance.numpy(), 1.0)
        mean, deviation = columns.moments()
        if untrained or expected[0].shape != mean.shape:
            return
        distance = float(np.median(np.sqrt((mean - expected[0]) ** 2 + deviation**2) / expected[1]))
        spread = float(np.median(deviation / expected[1]))
        what = f"reach the layer '{node.ref.layer}' {distance:.3g} of its deviations from its mean, and spread over {spread:.3g}"
        remedy = "in training both were about 1"
    elif isinstance(layer, keras.layers.Normalization):
        mean, deviation = columns.moments()
        distance = float(np.median(np.sqrt(mean**2 + deviation**2)))
        spread = float(np.median(deviation))
        what = f"leave the layer '{node.ref.layer}' at {low:.4g} to {high:.4g}"
        remedy = "it was adapted to bring its data to mean 0 and deviation 1"
    else:
        scale = max(float(np.max(np.abs(layer.scale))), 1e-30)
        # What multiplies by more than 1 takes numbers up to 1, and others make such numbers.
        times = TOO_LARGE / RESCALED_LARGE / max(scale, 1.0)
        distance = times * max(abs(low), abs(high))
        spread = (high - low) / max(scale, 1.0) * TOO_SMALL / RESCALED_SMALL
        what = f"leave the layer '{node.ref.layer}' at {low:.4g} to {high:.4g}"
        remedy = f"it multiplies by {scale:.4g}, so that it expects numbers up to about {_round(1 / scale)}"
    if distance > TOO_LARGE or 0 < spread < TOO_SMALL:
        yield (
            f"The calibration data are far from what the model expects: they {what}; {remedy}. Pass the data as they were in "
            "training: scaled neither twice nor not at all."
        )


def _round(number: float) -> str:
    return f"{number:.4g}"
