"""keep_in_float: complete a configuration with the layers that are usually not binarized."""

from __future__ import annotations

from keras_compress._keras import keras
from keras_compress.algorithms.binarization import Binarization
from keras_compress.arguments import flag
from keras_compress.config.compression_config import CompressionConfig
from keras_compress.errors import ConfigError
from keras_compress.graph import ModelGraph, take
from keras_compress.graph.model_check import require_compressible
from keras_compress.graph.topology import first_compute_layers, last_compute_layers, shortcut_layers

__all__ = ["keep_in_float"]


def keep_in_float(
    model: keras.Model, config: CompressionConfig | dict, *, last_convolution: bool = True
) -> CompressionConfig:
    """Return the configuration with the layers that are usually not binarized among its ``ignored_scopes``.

    These are the layers that see the input first, the convolution before the classifier, dense layers, and convolutions
    on shortcuts around residual blocks.

    Args:
        model: a built Functional or Sequential tf-keras model; it is only read.
        config: a configuration with ``binarization``; it is not changed.
        last_convolution: whether the convolution before the classifier is among them. Default True.

    Raises:
        ConfigError: the configuration has no ``binarization``.

    Example:
        >>> image = keras.Input((8, 8, 3))
        >>> x = keras.layers.Conv2D(4, 3, name="stem")(image)
        >>> x = keras.layers.Conv2D(4, 3, name="body")(x)
        >>> x = keras.layers.Conv2D(4, 3, name="last")(x)
        >>> model = keras.Model(image, keras.layers.Dense(2, name="head")(keras.layers.Flatten()(x)))
        >>> config = keep_in_float(model, {"compression": {"algorithm": "binarization"}})
        >>> config.compression[0].ignored_scopes
        ('head', 'last', 'stem')
    """
    config = CompressionConfig.of(config)
    if not any(isinstance(algorithm, Binarization) for algorithm in config.compression):
        raise ConfigError(
            "There is nothing to complete. Expected: 'binarization' among the algorithms. "
            f"Received: {[algorithm.name for algorithm in config.compression]}."
        )
    require_compressible(model)
    last_convolution = flag("last_convolution", last_convolution)
    graph = ModelGraph(take(model))
    layers = first_compute_layers(graph) | shortcut_layers(graph)
    layers |= {path for path, node in graph.layers() if node.is_a("Dense")}
    if last_convolution:
        layers |= last_compute_layers(graph, skipped=frozenset({"Dense"}))
    algorithms = [
        algorithm.model_copy(update={"ignored_scopes": tuple(sorted({*algorithm.ignored_scopes, *layers}))})
        if isinstance(algorithm, Binarization)
        else algorithm
        for algorithm in config.compression
    ]
    return config.model_copy(update={"compression": tuple(algorithms)})
