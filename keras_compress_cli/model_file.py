"""Reading a Keras model from a file, a folder or a function."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from keras_compress import load_model
from keras_compress._keras import keras
from keras_compress.data import InputSpec, input_specs
from keras_compress.errors import CompressionError
from keras_compress.graph.model_check import require_compressible
from keras_compress_cli.command import UsageError
from keras_compress_cli.entry_point import import_function, is_entry_point

__all__ = ["inputs_of", "read_model"]


def read_model(source: str, arguments: argparse.Namespace) -> keras.Model:
    """Return the model that ``source`` names, compressed or not; it is not compiled.

    Args:
        source: a ``.keras`` or ``.h5`` file, a SavedModel folder, or ``module:function``.
        arguments: with ``modules`` and ``trust``, see :func:`~keras_compress_cli.arguments.add_model`.

    Raises:
        UsageError: there is nothing of that name.
        CompressionError: it holds no tf-keras model, or does more than that and is not trusted.
    """
    for module in arguments.modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise UsageError(f"--import {module}: {error}.") from None
    if is_entry_point(source):
        model = import_function(source)()
        if not isinstance(model, keras.Model):
            raise CompressionError(
                f"'{source}' returned no model. Expected: a tf_keras model. Received: {type(model).__name__}."
            )
        return model
    if not Path(source).exists():
        raise UsageError(f"There is no model '{source}'. Expected: a file, a folder, or module:function.")
    return load_model(source, trust=arguments.trust)


def inputs_of(model: keras.Model) -> list[InputSpec]:
    """Return the inputs of a model.

    Raises:
        UnsupportedModelError: it has none, because it is no graph of layers or not built.
    """
    if not getattr(model, "inputs", None):
        require_compressible(model)
    return input_specs(model)
