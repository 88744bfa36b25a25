"""What every layer of a model returns while the model runs once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from keras_compress._keras import keras
from keras_compress.calibration.layer_hooks import hooked_calls
from keras_compress.calibration.model_states import fresh_states
from keras_compress.data import pack_inputs
from keras_compress.graph.variables import leaf_layers

__all__ = ["see_outputs"]


def see_outputs(
    model: keras.Model, arrays: Sequence[Any], see: Callable[[str, Any], None], training: bool = False
) -> None:
    """Run a model once and show the outputs of each call of a layer, in order.

    States of layers are as after ``reset_states()`` in this run, and restored afterwards.

    Args:
        model: the model.
        arrays: one array or tensor per input, in the order of the model.
        see: called with the path of the layer and what it returned.
        training: run as in training. Default False.

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.ReLU(name="relu"), keras.layers.Flatten(name="flat")])
        >>> see_outputs(model, [np.float32([[-1.0, 3.0]])], lambda path, outputs: print(path, outputs.numpy().tolist()))
        relu [[0.0, 3.0]]
        flat [[0.0, 3.0]]
    """

    def note(path: str, call: Any, *inputs: Any, **arguments: Any) -> Any:
        outputs = call(*inputs, **arguments)
        see(path, outputs)
        return outputs

    layers = {
        layer: partial(note, path)
        for path, layer in leaf_layers(model)
        if not isinstance(layer, keras.layers.InputLayer)
    }
    with hooked_calls(layers), fresh_states(model):
        model(pack_inputs(model, list(arrays)), training=training)
