"""Layers of a user's that have the name of a Keras class and compute something else.

Whoever decides by the name what a layer is takes them for the class of Keras.
"""

import functools
import inspect

from keras_compress._keras import keras


@functools.cache
def impostor_of(layer_class, module="keras_extras"):
    """Return a subclass of a Keras layer with the same name, whose outputs are twice as large and a half less.

    Args:
        layer_class: the class of Keras.
        module: where the subclass says it comes from.
    """

    def call(self, *args, **kwargs):
        return 2.0 * layer_class.call(self, *args, **kwargs) - 0.5

    call.__signature__ = inspect.signature(layer_class.call)  # Keras looks whether it takes masks and training
    return type(layer_class.__name__, (layer_class,), {"call": call, "__module__": module})


def with_impostors(model, *class_names):
    """Turn the layers of the named classes in a model into impostors, in place; return their paths."""
    turned = []
    for layer in model.layers:
        if type(layer).__name__ in class_names and isinstance(layer, keras.layers.Layer):
            object.__setattr__(layer, "__class__", impostor_of(type(layer)))
            turned.append(layer.name)
    return turned
