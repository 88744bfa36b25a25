"""Accuracy against size, from accuracies that were measured before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from keras_compress.errors import ConfigError
from keras_compress.html_report.point_chart import Point, point_chart
from keras_compress.html_report.section import Cell, Column, Figure, Section, Table

__all__ = ["accuracy_section"]


def accuracy_section(accuracy: Mapping[str, Any], sizes: Mapping[str, int]) -> Section:
    """Return a point for each accuracy.

    Args:
        accuracy: by name an accuracy, or a pair of an accuracy and bytes.
        sizes: bytes that are known, by name.

    Raises:
        ConfigError: an accuracy is no finite number, or its bytes are unknown.
    """
    points = [_point(name, value, sizes) for name, value in accuracy.items()]
    columns = (Column("model"), Column("bytes", True), Column("accuracy", True))
    rows = tuple(
        (
            Cell(f"{number}: {point.name}", order=number),
            Cell(f"{round(point.x * 1e3):,}", order=point.x),
            Cell(f"{point.y:.4g}", order=point.y),
        )
        for number, point in enumerate(points, 1)
    )
    figures = (Figure("Accuracy over kilobytes", point_chart(points, "kB", "accuracy")),)
    return Section("accuracy", "Accuracy against size", figures=figures, table=Table(columns, rows))


def _point(name: str, value: Any, sizes: Mapping[str, int]) -> Point:
    pair = value if isinstance(value, (tuple, list)) else (value, sizes.get(name))
    try:
        number, size = float(pair[0]), float(pair[1])
        if len(pair) == 2 and math.isfinite(number) and math.isfinite(size) and size >= 0:
            return Point(name, size / 1e3, number)
    except (TypeError, ValueError, IndexError):
        pass
    raise ConfigError(
        f"The accuracy of {name!r} cannot be drawn. Expected: a number under one of the names {sorted(sizes)}, whose bytes are "
        f"known, or a pair (accuracy, bytes). Received: {name!r}: {value!r}."
    )
