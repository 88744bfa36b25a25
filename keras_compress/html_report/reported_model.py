"""ReportedModel: the model a report is about, with what a controller knows of it if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_compress._keras import keras
from keras_compress.algorithms import ScheduledAlgorithm
from keras_compress.errors import UnsupportedModelError
from keras_compress.graph.model_check import require_graph
from keras_compress.reports import CompressionStatistics

__all__ = ["ReportedModel", "reported_model"]


@dataclass(frozen=True)
class ReportedModel:
    """A model and what is known of its compression.

    Attributes:
        model: the compressed model.
        config: the configuration as JSON-able values; None for a model without its controller.
        statistics: from the controller, without sizes; None without it.
        leveled: the algorithms that have a schedule.
    """

    model: keras.Model
    config: Mapping[str, Any] | None = None
    statistics: CompressionStatistics | None = None
    leveled: tuple[ScheduledAlgorithm, ...] = ()

    @property
    def reasons(self) -> dict[tuple[str, str], str]:
        """Why a weight is in floating point, by the path of its layer and its own."""
        rows = () if self.statistics is None else self.statistics.coverage
        return {(row.layer, row.weight): row.reason for row in rows}


def reported_model(model: Any) -> ReportedModel:
    """Return the subject of a report: of a compressed model, or of the controller of one.

    Raises:
        UnsupportedModelError: it is neither.
    """
    if isinstance(model, keras.Model):
        require_graph(model)
        return ReportedModel(model)
    if not isinstance(getattr(model, "model", None), keras.Model) or not hasattr(model, "statistics"):
        raise UnsupportedModelError(
            "Nothing to report on. Expected: a controller from kc.create_compressed_model, or a built Functional or "
            f"Sequential tf_keras model. Received: {type(model).__module__}.{type(model).__qualname__}. Load a file with "
            "tf_keras.models.load_model first."
        )
    leveled = tuple(algorithm for algorithm, _ in model.parts if isinstance(algorithm, ScheduledAlgorithm))
    return ReportedModel(model.model, model.config.to_dict(), model.statistics(quickly_collected_only=True), leveled)
