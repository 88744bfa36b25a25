"""The part of a range that quantizers behind an activation function still tell apart.

What lies beyond it arrives there as the same level, so a quantizer in front of the activation function needs no levels for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.graph.integer_computation import is_quantizer
from keras_compress.graph.view import ModelGraph, NodeRef, TensorRef
from keras_compress.layers import FakeQuantize

__all__ = ["leave_out_what_does_not_pass"]

#: How many values of a range are tried.
_POINTS = 4097


def leave_out_what_does_not_pass(
    graph: ModelGraph, layers: Mapping[str, keras.layers.Layer], paths: Iterable[str]
) -> None:
    """Narrow the ranges of quantizers in front of activation functions to what the quantizers behind those tell apart.

    A range stays where something else reads the quantizer, directly or behind the activation function.

    Args:
        graph: of the model.
        layers: the layers of the model by path; ranges are set there.
        paths: of the quantizers to narrow.
    """
    for path in paths:
        calls = [ref for ref in graph.nodes if ref.layer == path]
        ways = [way for ref in calls for way in _ways(graph, ref)]
        quantizer = layers[path]
        if not ways or None in ways or not isinstance(quantizer, FakeQuantize) or quantizer.per_channel:
            continue
        low, high = (float(end) for end in quantizer.range())
        points = np.linspace(low, high, _POINTS, dtype=np.float32)
        behind = [_through([layers[name] for name in way or ()], points) for way in ways]
        if all(np.ptp(levels) for levels in behind):
            ends = np.array([_ends(levels) for levels in behind])
            quantizer.set_range(points[ends[:, 0].min()], points[ends[:, 1].max()])


def _ways(graph: ModelGraph, ref: NodeRef, before: tuple[str, ...] = ()) -> list[tuple[str, ...] | None]:
    """Return the paths of the layers from a node to every quantizer that reads it; None for a way to something else."""
    found: list[tuple[str, ...] | None] = []
    for reader in graph.consumers(TensorRef(*ref, 0)):
        node = graph.nodes.get(reader)
        if node is None:
            found.append(None)
        elif is_quantizer(node):
            found.append((*before, node.ref.layer) if before else None)
        elif node.spec.elementwise or node.spec.inert_at_inference:
            found += _ways(graph, reader, (*before, *([node.ref.layer] if node.spec.elementwise else [])))
        else:
            found.append(None)
    return found or [None]


def _through(way: list[Any], points: np.ndarray) -> np.ndarray:
    values = tf.constant(points[:, np.newaxis])
    for layer in way:
        values = tf.cast(layer(values), tf.float32)
    return values.numpy()[:, 0]


def _ends(levels: np.ndarray) -> tuple[int, int]:
    """Return the first and the last index between which levels change."""
    changes = np.flatnonzero(np.diff(levels))
    return int(changes[0]), int(changes[-1]) + 1
