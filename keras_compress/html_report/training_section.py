"""The training: levels over the epochs as planned and as measured, and what Keras measured in each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_compress.algorithms import ScheduledAlgorithm, registered_algorithms
from keras_compress.errors import ConfigError
from keras_compress.html_report.charts import Line, line_chart
from keras_compress.html_report.page import Figure, Section

__all__ = ["training_section"]

LEVEL, POINTS = "/sparsity_level", 20


def training_section(history: Any, leveled: Sequence[ScheduledAlgorithm]) -> Section | None:
    """Return the curves of a training, None if there is nothing to draw.

    Args:
        history: what ``fit`` returned, or its ``history``: a list of numbers by name; None if there is none.
        leveled: the algorithms of the model that have a schedule.

    Raises:
        ConfigError: the history is something else.
    """
    numbers, epochs = _numbers(history)
    figures = [_level_figure(algorithm, numbers, epochs) for algorithm in leveled]
    for name in filter(_is_metric, numbers):
        parts = {name: "training", f"val_{name}": "validation"}
        lines = [Line(label, epochs, numbers[key]) for key, label in parts.items() if key in numbers]
        if any(math.isfinite(value) for line in lines for value in line.y):
            figures.append(Figure(name, line_chart(lines, "epoch", name)))
    return Section("training", "Training", figures=tuple(figures)) if figures else None


def _is_metric(name: str) -> bool:
    """Whether a name in a history is a metric of the training data, not a number of compression or of the optimizer."""
    of_compression = name.split("/")[0] in registered_algorithms() or name == "compression_stage"
    return not of_compression and not name.startswith("val_") and name not in ("lr", "learning_rate")


def _numbers(history: Any) -> tuple[dict[str, list[float]], list[int]]:
    """Return the numbers of a history by name, and how many epochs had ended at each."""
    if history is None:
        return {}, []
    values = getattr(history, "history", history)
    try:
        numbers = {str(name): [float(value) for value in column] for name, column in values.items()}
        lengths = {len(column) for column in numbers.values()}
        if len(lengths) > 1:
            raise ValueError("lists of several lengths")
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            "The history cannot be read. Expected: what model.fit returned, or a dict of lists of numbers, one per epoch. "
            f"Received: {type(history).__name__} ({error}). Pass history=model.fit(...)."
        ) from None
    length = lengths.pop() if lengths else 0
    begun = getattr(history, "epoch", None) or range(length)
    return numbers, [int(epoch) + 1 for epoch in begun][:length]


def _level_figure(algorithm: ScheduledAlgorithm, numbers: Mapping[str, list[float]], epochs: Sequence[int]) -> Figure:
    end = algorithm.final_epoch()
    last = max(epochs, default=0) or max(2, round(1.1 * end) + 1 if end is not None else POINTS)
    places = np.linspace(0, last, POINTS * last + 1)
    lines = [Line("planned", places.tolist(), [algorithm.planned_level(place) for place in places])]
    if algorithm.name + LEVEL in numbers:
        lines.append(Line("at the end of each epoch", epochs, numbers[algorithm.name + LEVEL]))
    return Figure(f"Level of {algorithm.name}", line_chart(lines, "epoch", "share of zeros", from_zero=True))
