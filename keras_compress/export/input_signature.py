"""The shapes and types of the inputs of an exported file: those of the model, with open sizes fixed where that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.arguments import mapping, whole_number
from keras_compress.data import fixed_batch, input_specs
from keras_compress.errors import ExportError, short_repr

__all__ = ["InputShapes", "fixed_shapes", "input_signature"]

#: A shape by the name of each input, or the shape of the only input.
InputShapes = Mapping[str, Sequence[int | None]] | Sequence[int | None]


def input_signature(
    model: keras.Model,
    batch_size: int | None = None,
    input_shapes: InputShapes | None = None,
    names: Sequence[str] | None = None,
) -> list[tf.TensorSpec]:
    """Return shape and type of every input, in the order of ``model.inputs``.

    Args:
        model: the model.
        batch_size: a fixed batch; None (default) leaves it open.
        input_shapes: sizes that the model leaves open, fixed: a dict from the name of an input to a shape, or the shape of the
            only input. A shape is that of one sample, as ``(224, 224, 3)``, or has the batch in front. None is a size
            that stays open. Default: the shapes of the model.
        names: other names of the inputs, in the order of ``model.inputs``. Default: none but Keras'.

    Raises:
        ExportError: the model fixes another batch, a shape belongs to no input, or is not one of the shapes that its input can have.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3), name="x"), keras.layers.Conv2D(2, 3)])
        >>> input_signature(model, input_shapes=(32, 32, 3))[0].shape
        TensorShape([None, 32, 32, 3])
    """
    if batch_size is not None:
        batch_size = whole_number("batch_size", batch_size, 1, kind=ExportError)
    batch = _batch(model, batch_size)
    shapes = _by_input(model, input_shapes, names)
    signature = []
    for index, (name, tensor) in enumerate(zip(model.input_names, model.inputs, strict=True)):
        shape = [batch, *tensor.shape[1:]]
        if name in shapes:
            shape = _fixed(name, shape, shapes[name])
        signature.append(tf.TensorSpec(shape, tensor.dtype, name=f"input_{index}"))
    return signature


def fixed_shapes(
    model: keras.Model, input_shapes: InputShapes | None = None, names: Sequence[str] | None = None
) -> list[tuple[int | None, ...]]:
    """Return the shape of one sample of every input of a file, see :func:`input_signature`.

    Args:
        model: the model.
        input_shapes: the sizes that the file fixes, with the samples' axis or without it. Default: none.
        names: of the inputs of the file. Default: Keras' names.

    Example:
        >>> model = keras.Sequential([keras.Input((None, None, 3), name="x"), keras.layers.Conv2D(2, 3)])
        >>> fixed_shapes(model, (32, None, 3))
        [(32, None, 3)]
    """
    return [tuple(spec.shape.as_list()[1:]) for spec in input_signature(model, None, input_shapes, names)]


def _batch(model: keras.Model, batch_size: int | None) -> int | None:
    """Return how many samples a file takes: as many as asked for, or as the model fixes; None for any number."""
    fixed = fixed_batch(input_specs(model))
    if fixed is not None and batch_size not in (None, fixed):
        raise ExportError(
            f"The model '{model.name}' fixes a batch of {fixed}. Expected: batch_size={fixed}, or none. Received: "
            f"batch_size={batch_size}. Build the model with that batch_size, or with an open batch."
        )
    return batch_size or fixed


def _by_input(
    model: keras.Model, input_shapes: InputShapes | None, names: Sequence[str] | None
) -> dict[str, Sequence[int | None]]:
    """Return the shapes by Keras' names of the inputs."""
    if input_shapes is None:
        return {}
    known = list(model.input_names)
    names = [names] if isinstance(names, str) else names
    if isinstance(input_shapes, Mapping):
        mapping("input_shapes", input_shapes, ExportError)
    if not isinstance(input_shapes, Mapping):
        if len(known) != 1:
            raise ExportError(
                f"'input_shapes' of a model with {len(known)} inputs is a dict from their names to shapes. Expected: keys among "
                f"{known}. Received: {short_repr(input_shapes)}."
            )
        return {known[0]: input_shapes}
    renamed: dict[str, str] = dict(zip(names or known, known, strict=True)) | {name: name for name in known}
    for name in input_shapes:
        if name not in renamed:
            raise ExportError(
                f"'input_shapes' has no use for '{name}'. Expected: names of inputs, {known}. Received: {list(input_shapes)}."
            )
    return {renamed[name]: shape for name, shape in input_shapes.items()}


def _fixed(name: str, shape: list[int | None], wanted: Any) -> list[int | None]:
    """Return a shape with its open sizes as ``wanted``."""
    message = (
        f"'input_shapes' does not fit input '{name}' of shape {tuple(shape)}. Expected: a shape of {len(shape)} sizes, or of "
        f"{len(shape) - 1} without the batch, which differs from it in open sizes only. Received: {short_repr(wanted)}."
    )
    try:
        sizes = [None if size is None else whole_number("input_shapes", size, 1, kind=ExportError) for size in wanted]
    except (TypeError, ValueError, ExportError):
        raise ExportError(message) from None
    if len(sizes) == len(shape) - 1:
        sizes = [shape[0], *sizes]
    fits = len(sizes) == len(shape) and all(size is None or size > 0 for size in sizes)
    if not fits or any(have not in (None, size) for have, size in zip(shape, sizes, strict=True) if size is not None):
        raise ExportError(message)
    return [have if size is None else size for have, size in zip(shape, sizes, strict=True)]
