"""Quantization points that share one range: because the user says so, or because a device reads them on one grid."""

from __future__ import annotations

from keras_compress.algorithms.scope import matches
from keras_compress.graph import LayerRole, ModelGraph
from keras_compress.graph.quantization_points import QuantizationPoint

__all__ = ["joined_by_configuration", "joined_operands"]


def joined_operands(graph: ModelGraph, points: list[QuantizationPoint]) -> list[QuantizationPoint]:
    """Join the points of the operands of each elementwise operation, which an NPU reads on one grid."""
    for node in graph.nodes.values():
        if node.spec.role is LayerRole.MERGE:
            points = _joined(points, [point for point in points if node.ref in point.consumers])
    return points


def joined_by_configuration(
    points: list[QuantizationPoint], groups: tuple[tuple[str, ...], ...]
) -> list[QuantizationPoint]:
    """Join the points whose sources share one range by configuration."""
    for group in groups:
        joined = [p for p in points if any(matches(name, source.layer) for name in group for source in p.sources)]
        points = _joined(points, joined)
    return points


def _joined(points: list[QuantizationPoint], parts: list[QuantizationPoint]) -> list[QuantizationPoint]:
    """Return points of which some have become one."""
    if len(parts) < 2:
        return points
    sources = tuple(source for part in parts for source in part.sources)
    consumers = tuple(dict.fromkeys(consumer for part in parts for consumer in part.consumers))
    return [point for point in points if point not in parts] + [QuantizationPoint(sources, consumers)]
