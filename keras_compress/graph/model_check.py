"""Which models can be compressed, and what to do about those that cannot."""

from __future__ import annotations

from typing import Any

from keras_compress._keras import is_graph_model, keras
from keras_compress.errors import UnsupportedModelError
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer, WeightOp

__all__ = ["first_compressed_layer", "require_compressible", "require_graph"]


def require_compressible(model: Any) -> None:
    """Raise an UnsupportedModelError with a remedy unless ``model`` is a built, uncompressed graph of layers."""
    require_graph(model)
    path = first_compressed_layer(model)
    if path is not None:
        raise UnsupportedModelError(
            f"The model '{model.name}' is already compressed: see layer '{path}'. Expected: an uncompressed model. List "
            "all algorithms in one configuration, or take a plain model with controller.strip()."
        )


def require_graph(model: Any) -> None:
    """Raise an UnsupportedModelError with a remedy unless ``model`` is a built graph of layers, compressed or not."""
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    if not isinstance(model, keras.Model):
        if any(base.__module__.split(".")[0] == "keras" for base in type(model).__mro__):
            raise UnsupportedModelError(
                "This is a Keras 3 model. Expected: a tf_keras model. Received: "
                f"{kind}. Build it with 'import tf_keras as keras', or load its file with tf_keras.models.load_model."
            )
        raise UnsupportedModelError(
            f"Wrong value for 'model'. Expected: a tf_keras model. Received: {kind}. Build one with 'import tf_keras as keras', or "
            "load its file with tf_keras.models.load_model."
        )
    if not is_graph_model(model):
        raise UnsupportedModelError(
            f"The model '{model.name}' of class {type(model).__name__} has no graph of layers: its call() is Python code. "
            "Expected: a Functional or Sequential model. Remedy, for a model whose call() is made of layers:\n"
            "    inputs = keras.Input(shape)\n"
            "    functional = keras.Model(inputs, model.call(inputs))\n"
            f"{_variables_outside_layers(model)}"
        )
    if not model.built or not model.inputs:
        raise UnsupportedModelError(
            f"The model '{model.name}' is not built, so its weights do not exist yet. Expected: a built model. Call "
            "model.build(input_shape), or start it with keras.Input(shape)."
        )


def _variables_outside_layers(model: keras.Model) -> str:
    """Return what the remedy above does to variables that no layer of a model holds."""
    outside = [v.name.partition(":")[0] for v in model._trainable_weights + model._non_trainable_weights]
    check = "Compare len(functional.variables) with len(model.variables)."
    if outside:
        return (
            f"This loses the variables {outside}, which belong to the model itself and to none of its layers: they would "
            "become constants. Put each into a layer of its own, whose add_weight() makes it and whose call() uses it, "
            f"and load the weights. {check}"
        )
    return f"Variables that call() uses and no layer holds are lost in this way: put them into layers of their own. {check}"


def first_compressed_layer(model: keras.Model) -> str | None:
    """Return the path of a layer that compression made, None if there is none."""
    compressed = (path for path, layer in leaf_layers(model) if isinstance(layer, (CompressedLayer, WeightOp)))
    return next(compressed, None)
