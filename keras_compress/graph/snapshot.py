"""ModelSnapshot: a Keras model as a value, taken from a live model and built into a new one.

The configuration is Keras' own; the weights are arrays by layer and name. Edits and passes map snapshots to snapshots
and never see a live model.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from keras_compress._keras import keras
from keras_compress._threads import WEIGHTS
from keras_compress.graph.rebuilding import entries, is_model_entry, rebuild
from keras_compress.graph.serialization import describe
from keras_compress.graph.tensor_types import not_activations

__all__ = ["ModelSnapshot", "build", "entries", "is_model_entry", "take"]


@dataclass(frozen=True)
class ModelSnapshot:
    """Immutable snapshot of a model: configuration and weights.

    Attributes:
        config: Keras' serialized form of the model: ``{"class_name": …, "config": {"layers": […], …}}``.
        weights: arrays by layer path (``"conv1"``, ``"backbone/conv1"``) and variable name (``"kernel"``).
        custom_objects: what the configuration refers to by name and Keras does not know; see
            :mod:`~keras_compress.graph.serialization`. A layer that no configuration holds, as one of the user's, is among
            them itself, and is read when the model is built: keep the model until then as it was.
        not_activations: places of tensors that are no activations, see
            :func:`~keras_compress.graph.tensor_types.not_activations`.
    """

    config: dict
    weights: Mapping[str, Mapping[str, np.ndarray]]
    custom_objects: Mapping[str, Any] = field(default_factory=dict)
    not_activations: frozenset[tuple[str, int, int]] = frozenset()

    def edited(self) -> ModelSnapshot:
        """Return a copy whose configuration may be changed freely; the arrays are shared."""
        return replace(self, config=copy.deepcopy(self.config), weights=dict(self.weights))

    def with_weights(self, weights: Mapping[str, Mapping[str, np.ndarray]]) -> ModelSnapshot:
        """Return the same model with other arrays."""
        return replace(self, weights=weights)


def take(model: keras.Model) -> ModelSnapshot:
    """Return ``model`` as a value. The model is only read.

    It takes little time, a quarter of a second for ResNet-50 where the export of a file takes twenty and more. So each step
    of an export that wants the model as a value takes it by itself, and a format is handed the live model alone.

    Raises:
        UnsupportedModelError: it cannot be built again.
    """
    with WEIGHTS:
        return ModelSnapshot(*describe(model), not_activations(model))


def build(snapshot: ModelSnapshot) -> keras.Model:
    """Return a new model with the configuration and the weights of ``snapshot``.

    A layer without arrays in the snapshot, as a new quantizer, keeps its initial values.
    """
    return rebuild(snapshot.config, snapshot.weights, snapshot.custom_objects)
