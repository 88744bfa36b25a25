"""Which models can be compressed, and what to do about those that cannot."""

from __future__ import annotations

from typing import Any

from keras_compress._keras import is_graph_model, keras
from keras_compress.errors import UnsupportedModelError
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer, WeightOp

__all__ = ["first_compressed_layer", "require_compressible"]


def require_compressible(model: Any) -> None:
    """Raise an UnsupportedModelError with a remedy unless ``model`` is a built, uncompressed graph of layers."""
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    if not isinstance(model, keras.Model):
        if any(base.__module__.split(".")[0] == "keras" for base in type(model).__mro__):
            raise UnsupportedModelError(
                "This is a Keras 3 model. Expected: a tf_keras model. Received: "
                f"{kind}. Build it with 'import tf_keras as keras', or load its file with tf_keras.models.load_model."
            )
        raise UnsupportedModelError(f"Expected: a tf_keras model. Received: {kind}.")
    if not is_graph_model(model):
        raise UnsupportedModelError(
            f"The model '{model.name}' of class {type(model).__name__} has no graph of layers: its call() is Python code. "
            "Expected: a Functional or Sequential model. Remedy, for a model whose call() is made of layers:\n"
            "    inputs = keras.Input(shape)\n"
            "    model = keras.Model(inputs, model.call(inputs))"
        )
    if not model.built or not model.inputs:
        raise UnsupportedModelError(
            f"The model '{model.name}' is not built, so its weights do not exist yet. Expected: a built model. Call "
            "model.build(input_shape), or start it with keras.Input(shape)."
        )
    path = first_compressed_layer(model)
    if path is not None:
        raise UnsupportedModelError(
            f"The model '{model.name}' is already compressed: see layer '{path}'. Expected: an uncompressed model. List "
            "all algorithms in one configuration, or take a plain model with controller.strip()."
        )


def first_compressed_layer(model: keras.Model) -> str | None:
    """Return the path of a layer that compression made, None if there is none."""
    compressed = (path for path, layer in leaf_layers(model) if isinstance(layer, (CompressedLayer, WeightOp)))
    return next(compressed, None)
