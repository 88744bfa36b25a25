"""quantization_parameters: the weights of a compressed model as integers, scales and zero points."""

from __future__ import annotations

from keras_compress._keras import keras
from keras_compress.graph.model_check import require_graph
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer, IntegerWeight

__all__ = ["quantization_parameters"]


def quantization_parameters(model: keras.Model) -> dict[str, IntegerWeight]:
    """Return every weight of a compressed model that is on an integer grid.

    Args:
        model: a compressed model, with or without its controller; it is only read.

    Returns:
        By ``"layer/weight"``, as ``"backbone/conv1/kernel"``, an object with ``values`` (int8 or uint8, in the shape of
        the weight), ``scale`` (float32) and ``zero_point`` (int32), both broadcastable to it, and ``num_bits``. The
        weight is ``scale * (values - zero_point)``, which ``dequantize()`` returns.

    Example:
        >>> from keras_compress.create import create_compressed_model
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
        >>> config = {"compression": {"algorithm": "quantization", "activations": {"ignored_scopes": "dense"}}}
        >>> _, compressed = create_compressed_model(model, config)
        >>> quantization_parameters(compressed)["dense/kernel"].scale.shape
        (1, 2)
    """
    require_graph(model)
    found = {}
    for path, layer in leaf_layers(model):
        if isinstance(layer, CompressedLayer):
            for weight in dict.fromkeys(layer.weight_paths):
                integers = layer.integer_weight(weight)
                if integers is not None:
                    found[f"{path}/{weight}"] = integers
    return found
