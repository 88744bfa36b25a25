"""Turn quantized dense layers into convolutions of one pixel, for a converter that handles only their scales per channel."""

from __future__ import annotations

from keras_compress._keras import keras
from keras_compress.graph.snapshot import ModelSnapshot, entries
from keras_compress.layers import PointwiseDense
from keras_compress.layers.compressed_layer import REGISTERED_NAME

__all__ = ["dense_to_convolution"]

_NAME = keras.saving.get_registered_name(PointwiseDense)


def dense_to_convolution(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Return the model with every compressed ``Dense`` computing as a convolution; names and outputs stay."""
    edited = snapshot.edited()
    weights = dict(edited.weights)
    for path, entry in entries(edited.config):
        inner = entry["config"].get("layer")
        if (
            entry.get("registered_name") != REGISTERED_NAME
            or inner["class_name"] != "Dense"
            or inner["registered_name"]
        ):
            continue
        kept = ("name", "trainable", "dtype", "units", "use_bias", "activation")
        inner.update(
            module=PointwiseDense.__module__,
            class_name=PointwiseDense.__name__,
            registered_name=_NAME,
            config={key: inner["config"][key] for key in kept},
        )
        kernel = weights[path]["layer.kernel"]
        weights[path] = {**weights[path], "layer.kernel": kernel.reshape(1, 1, *kernel.shape)}
    return ModelSnapshot(edited.config, weights, edited.custom_objects)
