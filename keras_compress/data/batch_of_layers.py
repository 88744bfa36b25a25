"""The batch that layers fix where the inputs of a model leave it open, as ``tf.reshape(x, (4, -1))`` does.

That all outputs have the same first axis is no sign of it: a transposed output, or a mean over the batch, has one too. So
the shapes of all layers are inferred for that many samples and for twice as many. Nothing is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import tensorflow as tf

from keras_compress._keras import accepts, is_graph_model, keras
from keras_compress._keras_calls import arguments_of, calls_in_order
from keras_compress._tracing import released_graphs, scratch_graph

__all__ = ["batch_of_layers"]

#: Open sizes other than the batch are taken to be so large.
OPEN = 64

#: What was found for a model with so many rows of its outputs and so many layers: to infer shapes takes long.
_KNOWN: WeakKeyDictionary[keras.Model, tuple[tuple[int, int], int | None]] = WeakKeyDictionary()

Shape = tuple[int | None, ...]


def batch_of_layers(model: keras.Model) -> int | None:
    """Return the number of samples that the layers of a model fix, None if they take any number.

    All outputs have that many rows, or the inputs of a nested model ask for them, and with twice as many samples either the
    shapes do not fit, or a layer writes the values of several samples into one row, or the nested model makes no more rows.

    Args:
        model: a graph of layers whose inputs leave the batch open.

    Example:
        >>> x = keras.Input((5, 4))
        >>> batch_of_layers(keras.Model(x, tf.reshape(x, (3, 20)))), batch_of_layers(keras.Model(x, tf.transpose(x)))
        (3, None)
    """
    sizes = _batches_of_nested(model) or {tensor.shape[0] if tensor.shape.rank else None for tensor in model.outputs}
    size = sizes.pop() if len(sizes) == 1 else None
    if size is None:
        return None
    key = size, len(model.layers)
    if _KNOWN.get(model, (None, None))[0] != key:
        _KNOWN[model] = key, size if _are_fixed(model, size) else None
    return _KNOWN[model][1]


def _batches_of_nested(model: keras.Model) -> set[int | None]:
    """Return the batches that the inputs of nested models fix."""
    nested = [layer for layer in model.layers if is_graph_model(layer)]
    return {size for layer in nested for size in _fixed_inputs(layer) | _batches_of_nested(layer)}


def _fixed_inputs(model: keras.Model) -> set[int | None]:
    return {tensor.shape[0] for tensor in model.inputs or () if tensor.shape.rank and tensor.shape[0]}


def _are_fixed(model: keras.Model, size: int) -> bool:
    calls = [call for call in calls_in_order(model) if not call.is_input]
    fitting, twice = (_inferred(model, calls, samples) for samples in (size, 2 * size))
    if fitting is None or twice is None:
        return fitting is not None
    if any(_fixes(call, size) and is_graph_model(call.layer) and _fixed_inputs(call.layer) for call in calls):
        return True
    # A single row may well be a sum of all samples.
    return size > 1 and any(
        _fixes(call, size) and _spills(*shapes) for call, *shapes in zip(calls, fitting, twice, strict=True)
    )


def _inferred(model: keras.Model, calls: Sequence[Any], samples: int) -> list[tuple[list[Shape], list[Shape]]] | None:
    """Return the shapes of the inputs and outputs of every call for so many samples, None if they do not fit."""
    found = []
    with released_graphs(), scratch_graph():
        made = {id(tensor): _placeholder(tensor, samples) for tensor in model.inputs}

        def replaced(argument: Any) -> Any:
            return made.get(id(argument), argument)

        try:
            for call in calls:
                arguments, named = tf.nest.map_structure(replaced, arguments_of(call))
                if accepts(call.layer, "training"):
                    named["training"] = False
                outputs = tf.nest.flatten(call.layer(*arguments, **named))
                made.update(
                    {id(tensor): output for tensor, output in zip(tf.nest.flatten(call.outputs), outputs, strict=True)}
                )
                found.append((_shapes(map(replaced, call.keras_inputs)), _shapes(outputs)))
        except (ValueError, TypeError, tf.errors.OpError):
            return None
    return found


def _placeholder(tensor: Any, samples: int) -> tf.Tensor:
    sizes = [OPEN if size is None else size for size in tensor.shape[1:]]
    return tf.compat.v1.placeholder(tensor.dtype, [samples, *sizes])


def _shapes(tensors: Any) -> list[Shape]:
    return [tuple(tensor.shape) if tensor.shape.rank else () for tensor in tensors]


def _fixes(call: Any, size: int) -> bool:
    """Whether a layer gives so many rows for any number of them."""
    inputs, outputs = _shapes(call.keras_inputs), _shapes(tf.nest.flatten(call.outputs))
    return any(shape[:1] == (None,) for shape in inputs) and any(shape[:1] == (size,) for shape in outputs)


def _spills(fitting: tuple[list[Shape], list[Shape]], twice: tuple[list[Shape], list[Shape]]) -> bool:
    """Whether an axis behind the first grows with the number of samples, and is not that of the samples itself."""
    rows = [shape[0] for shape in twice[0] if shape]
    return any(
        size != larger and larger not in rows
        for before, after in zip(fitting[1], twice[1], strict=True)
        for size, larger in zip(before[1:], after[1:], strict=True)
    )
