"""Operations that a file cannot hold: tables that words are looked up in, and strings. They are refused before anything is written."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.errors import ExportError
from keras_compress.export.operation_layer import maker_of

__all__ = ["refuse_tables_and_strings"]

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
