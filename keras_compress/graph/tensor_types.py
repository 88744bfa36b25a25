"""Which tensors of a model are no activations: integers, truth values and text, as shapes are, and single numbers.

Keras' configuration does not tell the types of tensors; the live model does.
"""

from __future__ import annotations

import tensorflow as tf

from keras_compress._keras import is_graph_model, keras, skips_first_call
from keras_compress._keras_calls import kept_calls

__all__ = ["not_activations"]


def not_activations(model: keras.Model, prefix: str = "") -> frozenset[tuple[str, int, int]]:
    """Return the places of tensors that cannot be quantized: path of the layer, number of its call, number of the output.

    Args:
        model: a Functional or Sequential model, nested ones included; it is only read.
        prefix: in front of the paths, that of a nested model. Default: none.

    Example:
        >>> image = keras.Input((4, 3), name="image")
        >>> outputs = tf.reshape(keras.layers.Dense(2)(image), [tf.shape(image)[0], -1])
        >>> sorted(not_activations(keras.Model(image, outputs)))
        [('tf.__operators__.getitem', 0, 0), ('tf.compat.v1.shape', 0, 0)]
    """
    found: set[tuple[str, int, int]] = set()
    calls, _ = kept_calls(model)
    for layer in model.layers:
        first = int(skips_first_call(layer))
        for number, call in enumerate(calls.get(layer.name, []), first):
            for index, tensor in enumerate(tf.nest.flatten(call.outputs)):
                if not tensor.dtype.is_floating or tensor.shape.rank == 0:
                    found.add((prefix + layer.name, number, index))
        if is_graph_model(layer):
            found |= not_activations(layer, f"{prefix}{layer.name}/")
    return frozenset(found)
