"""Turn quantized dense layers into convolutions of one pixel, for a converter that handles only their scales per channel."""

from __future__ import annotations

from dataclasses import replace

from keras_compress._keras import keras
from keras_compress.graph.compressed_entry import CompressedEntry
from keras_compress.graph.identity import is_builtin
from keras_compress.graph.snapshot import ModelSnapshot, entries
from keras_compress.layers import PointwiseDense

__all__ = ["dense_to_convolution"]

_NAME = keras.saving.get_registered_name(PointwiseDense)
_SETTINGS = ("name", "trainable", "dtype", "units", "use_bias", "activation")


def dense_to_convolution(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Return the model with every compressed ``Dense`` computing as a convolution; names and outputs stay."""
    edited = snapshot.edited()
    weights = dict(edited.weights)
    for path, entry in entries(edited.config):
        wrapped = CompressedEntry.of(entry, weights.get(path, {}))
        if wrapped is None or wrapped.layer["class_name"] != "Dense" or not is_builtin(wrapped.layer):
            continue
        layer = {
            "module": PointwiseDense.__module__,
            "class_name": PointwiseDense.__name__,
            "registered_name": _NAME,
            "config": {key: wrapped.layer["config"][key] for key in _SETTINGS},
        }
        kernel = wrapped.arrays["kernel"]
        arrays = {**wrapped.arrays, "kernel": kernel.reshape(1, 1, *kernel.shape)}
        weights[path] = replace(wrapped, layer=layer, arrays=arrays).write_to(entry)
    return edited.with_weights(weights)
