"""InputSpec: what a model takes, input by input, and under which names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from keras_compress._keras import input_names, keras
from keras_compress.data.batch_of_layers import batch_of_layers
from keras_compress.errors import DataError

__all__ = ["InputSpec", "fixed_batch", "input_specs", "pack_inputs", "tensor_specs"]


@dataclass(frozen=True)
class InputSpec:
    """An input of a model.

    Attributes:
        name: of its input layer.
        shape: without the batch; None for an open size.
        dtype: its type, as ``"float32"``.
        batch: how many samples a run takes, where the model fixes that. Default None: any number.
        place: keys and positions that lead to the input in the structure the model is called with. Default: none.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    batch: int | None = None
    place: tuple[Any, ...] = ()

    @property
    def label(self) -> str:
        """What the user calls the input: its key in a model of dicts, else the name of its layer."""
        keys = [key for key in self.place if isinstance(key, str)]
        return ".".join(keys) if keys and len(keys) == len(self.place) else self.name


def input_specs(model: keras.Model) -> list[InputSpec]:
    """Return the inputs of a model in its own order.

    Example:
        >>> samples = keras.Input(batch_shape=(2, 3), name="x")
        >>> input_specs(keras.Model({"left": samples}, keras.layers.Dense(1)(samples)))
        [InputSpec(name='x', shape=(3,), dtype='float32', batch=2, place=('left',))]
    """
    places = list(_places(model.input)) if isinstance(model.input, (dict, list, tuple)) else [()] * len(model.inputs)
    is_open = all(tensor.shape[0] is None for tensor in model.inputs)
    inferred = batch_of_layers(model) if is_open else None
    return [
        InputSpec(name, tuple(tensor.shape.as_list()[1:]), tensor.dtype.name, tensor.shape[0] or inferred, place)
        for name, tensor, place in zip(input_names(model), model.inputs, places, strict=True)
    ]


def _places(structure: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every input in a nested structure, in the order in which Keras flattens it."""
    if isinstance(structure, Mapping):
        for key in sorted(structure):
            yield from _places(structure[key], (*place, key))
    elif isinstance(structure, (list, tuple)):
        for index, item in enumerate(structure):
            yield from _places(item, (*place, index))
    else:
        yield place


def fixed_batch(specs: Sequence[InputSpec]) -> int | None:
    """Return how many samples every run has to have, None for any number.

    Raises:
        DataError: the inputs ask for different numbers.
    """
    sizes = {spec.label: spec.batch for spec in specs if spec.batch is not None}
    if len(set(sizes.values())) > 1:
        raise DataError(
            f"The inputs of the model have different fixed batches. Expected: one number of samples. Received: {sizes}. "
            "Build the model with one batch_size for all of them."
        )
    return next(iter(sizes.values()), None)


def tensor_specs(specs: Sequence[InputSpec]) -> tuple[tf.TensorSpec, ...]:
    """Return the inputs as TensorFlow's specs; the batch is open unless the model fixes it."""
    batch = fixed_batch(specs)
    return tuple(tf.TensorSpec([batch, *spec.shape], spec.dtype) for spec in specs)


def pack_inputs(model: keras.Model, tensors: Sequence[Any]) -> Any:
    """Return one tensor per input, in the order of ``model.inputs``, in the structure the model is called with."""
    return tf.nest.pack_sequence_as(model.input, list(tensors))
