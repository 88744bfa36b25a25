"""strip: a plain Keras model of a compressed one, without its controller."""

from __future__ import annotations

from keras_compress._keras import keras
from keras_compress.arguments import flag
from keras_compress.graph import build, take
from keras_compress.graph.model_check import require_graph
from keras_compress.graph.passes.strip import strip as stripped

__all__ = ["strip"]


def strip(model: keras.Model, do_copy: bool = True, *, keep_activations: bool = False) -> keras.Model:
    """Return a plain Keras model of a compressed one: layers with the names they had, and weights on their grids.

    Args:
        model: the compressed model, as a controller has it or as it was loaded from a file; it is only read.
        do_copy: without effect, for scripts of NNCF: the model is a new one in any case.
        keep_activations: leave quantizers of activations in the model, with fixed ranges, so that it computes what the
            compressed one computes. Default False: activations are in floating point.

    Returns:
        A new model, not compiled.

    Example:
        >>> from keras_compress.create import create_compressed_model
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
        >>> _, compressed = create_compressed_model(model, {"compression": {"algorithm": "magnitude_sparsity"}})
        >>> [type(layer).__name__ for layer in strip(compressed).layers]
        ['Dense']
    """
    require_graph(model)
    flag("do_copy", do_copy)
    keep_activations = flag("keep_activations", keep_activations)
    return build(stripped(take(model), keep_activations=keep_activations))
