"""Operations that a file cannot hold: tables that words are looked up in, strings, and grouped convolutions of volumes.

They are refused before anything is written.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.errors import ExportError
from keras_compress.export.operation_layer import maker_of
from keras_compress.graph.variables import leaf_layers, sublayers

__all__ = ["refuse_grouped_volumes", "refuse_tables_and_strings"]

_TABLES = ("LookupTable", "HashTable", "MutableHashTable", "InitializeTable", "AnonymousHashTable")


def refuse_tables_and_strings(model: keras.Model, graph: Any, *, strings: bool = True) -> None:
    """Refuse a model that looks something up in a table, or computes with strings.

    Args:
        model: the model.
        graph: its graph.
        strings: refuse strings too, not only tables. Default True.

    Raises:
        ExportError: it does; the message names the layer.
    """
    operations = graph.get_operations()
    found = next((one for one in operations if one.type.startswith(_TABLES)), None)
    what = "looks its input up in a table"
    if found is None and strings:
        made = (one for one in operations if any(tensor.dtype == tf.string for tensor in (*one.outputs, *one.inputs)))
        used = [one for one in made if one.type not in ("Placeholder", "Identity", "Const", "Assert")]
        found, what = next(iter(used), None), "computes with strings"
    if found is not None:
        raise ExportError(
            f"{maker_of(found.name, model)} {what}, which this format cannot hold. Expected: a model that starts from numbers. Received: the operation "
            f"{found.type}. Call that layer in front of the model and export what is behind it, or export a SavedModel (a path "
            "without a suffix), which holds tables and strings."
        )


def refuse_grouped_volumes(model: keras.Model, path: Any) -> None:
    """Refuse a model with a convolution of volumes that has several groups, which TensorFlow Lite does not compute.

    Args:
        model: the model.
        path: the file that was to be written.

    Raises:
        ExportError: there is one; the message names the layer.
    """
    for name, layer in leaf_layers(model):
        for inner in sublayers(layer):
            if isinstance(inner, keras.layers.Conv3D) and inner.groups > 1:
                raise ExportError(
                    f"Layer '{name}' is a convolution of volumes in groups, which TensorFlow Lite does not compute. Expected for '{path}': "
                    f"groups=1. Received: groups={inner.groups}. Write it as one convolution for each part of its channels, or choose another format."
                )
