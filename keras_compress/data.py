"""Dataset: calibration data in any sane form, checked and cut into batches of one size for a model.

The model always sees batches of the same size, filled up where the data end; so the order of the data's own batches,
their size and the form in which the data came make no difference to what is measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import input_names, keras
from keras_compress.errors import DataError

__all__ = ["Batch", "Dataset", "InputSpec", "input_specs", "pack_inputs", "tensor_specs"]


@dataclass(frozen=True)
class InputSpec:
    """An input of a model: its name, its shape without the batch, and its dtype."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Batch:
    """Arrays for a model, one per input; the first ``samples`` rows are data, the rest repeats the last of them."""

    inputs: tuple[np.ndarray, ...]
    samples: int


def input_specs(model: keras.Model) -> list[InputSpec]:
    """Return the inputs of a model in its own order."""
    names = input_names(model)
    return [
        InputSpec(name, tuple(tensor.shape.as_list()[1:]), tensor.dtype.name)
        for name, tensor in zip(names, model.inputs, strict=True)
    ]


def tensor_specs(specs: Sequence[InputSpec]) -> tuple[tf.TensorSpec, ...]:
    """Return the inputs as TensorFlow's specs, with an open batch."""
    return tuple(tf.TensorSpec([None, *spec.shape], spec.dtype) for spec in specs)


class Dataset:
    """Data to calibrate or evaluate with.

    Args:
        source: a ``tf.data.Dataset``, a ``keras.utils.Sequence``, an array, a tuple or dict of arrays, a function that
            returns an iterator, or any iterable of elements such as a list of batches or a data loader. An element is
            the model's input, or a tuple ``(input, target, …)`` of which the first is taken; several inputs come as a
            tuple or as a dict by input name. Elements may be batches of any size or single samples.
        transform_func: applied to each element first, for data in a form of their own.

    Example:
        >>> dataset = Dataset(np.zeros((10, 4), np.float32))
        >>> specs = [InputSpec("x", (4,), "float32")]
        >>> [batch.samples for batch in dataset.batches(specs, batch_size=4)]
        [4, 4, 2]
    """

    def __init__(self, source: Any, transform_func: Callable[[Any], Any] | None = None):
        self.source = source
        self.transform_func = transform_func
        self._replay: _Replay | None = _Replay(source) if isinstance(source, Iterator) else None

    @classmethod
    def of(cls, source: Any) -> Dataset:
        """Return ``source`` if it is a Dataset, else a Dataset of it."""
        return source if isinstance(source, cls) else cls(source)

    def batches(self, specs: Sequence[InputSpec], batch_size: int = 32, limit: int | None = None) -> Iterator[Batch]:
        """Yield checked batches of exactly ``batch_size`` rows.

        Args:
            specs: the inputs of the model, see :func:`input_specs`.
            batch_size: rows per batch.
            limit: the number of samples to stop after; None for all.

        Raises:
            DataError: the data do not fit the inputs, are not finite, or are empty.
        """
        waiting: list[list[np.ndarray]] = []
        rows = total = 0
        for inputs in self._inputs(specs):
            size = len(inputs[0])
            if limit is not None:
                size = min(size, limit - total)
            if waiting and any(old.shape[1:] != new.shape[1:] for old, new in zip(waiting[0], inputs, strict=True)):
                batch, waiting = _cut(waiting, rows)  # open sizes: what differs in shape cannot share a batch
                yield _filled(batch, rows, batch_size)
                rows = 0
            waiting.append([array[:size] for array in inputs])
            rows, total = rows + size, total + size
            while rows >= batch_size:
                batch, waiting = _cut(waiting, batch_size)
                rows -= batch_size
                yield Batch(batch, batch_size)
            if limit is not None and total >= limit:
                break
        if total == 0:
            raise DataError("The calibration data are empty. Expected: at least one sample.")
        if rows:
            yield _filled(_cut(waiting, rows)[0], rows, batch_size)

    def number_of_batches(self, specs: Sequence[InputSpec]) -> int | None:
        """Return how many batches the source itself has, where it knows: a batched tf.data.Dataset or a Sequence."""
        if isinstance(self.source, tf.data.Dataset):
            count = int(self.source.cardinality().numpy())
            first = tf.nest.flatten(self.source.element_spec)[0].shape.rank
            batched = first is None or first > min(len(spec.shape) for spec in specs)
            return count if count > 0 and batched and self.transform_func is None else None
        if isinstance(self.source, keras.utils.Sequence):
            return len(self.source)
        return None

    def get_data(self, indices: Iterable[int] | None = None) -> Iterator[Any]:
        """Yield the elements of the source as they are, those at ``indices`` if any are given, in ascending order."""
        if indices is None:
            yield from self._elements(())
            return
        wanted = set(indices)
        elements = itertools.islice(self._elements(()), max(wanted, default=-1) + 1)
        yield from (element for index, element in enumerate(elements) if index in wanted)

    def get_inference_data(self, indices: Iterable[int] | None = None) -> Iterator[Any]:
        """Yield the elements as a model gets them, ``transform_func`` applied."""
        return (
            element if self.transform_func is None else self.transform_func(element)
            for element in self.get_data(indices)
        )

    def _inputs(self, specs: Sequence[InputSpec]) -> Iterator[list[np.ndarray]]:
        for element in self._elements(specs):
            if self.transform_func is not None:
                element = self.transform_func(element)
            yield _checked(_arrange(element, specs), specs)

    def _elements(self, specs: Sequence[InputSpec]) -> Iterator[Any]:
        source = self.source
        if self._replay is not None:
            return iter(self._replay)
        if isinstance(source, list) and not _is_one_element(source, specs):
            return iter(source)
        if _is_array(source) or (isinstance(source, (dict, tuple, list)) and _holds_arrays(source)):
            return iter([source])
        if isinstance(source, keras.utils.Sequence):
            return (source[index] for index in range(len(source)))
        if callable(source) and not isinstance(source, Iterable):
            return iter(source())
        if isinstance(source, Iterable):
            return iter(source)
        raise DataError(
            "Calibration data must be a tf.data.Dataset, arrays, a Sequence, a generator function or an iterable. "
            f"Received: {type(source).__name__}."
        )


class _Replay:
    """An iterator that can be read again from its start: what was read is kept."""

    def __init__(self, iterator: Iterator):
        self._iterator = iterator
        self._seen: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        yield from self._seen
        for element in self._iterator:
            self._seen.append(element)
            yield element


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, tf.Tensor))


def _holds_arrays(value: Any) -> bool:
    """Whether a nested structure consists of whole arrays: all data at once, with or without targets."""
    flat = tf.nest.flatten(value)
    return len(flat) > 0 and all(_is_array(item) for item in flat)


def _is_one_element(source: list, specs: Sequence[InputSpec]) -> bool:
    """Whether a list is all data at once, ``[inputs, targets]`` or one array per input, and not a list of elements."""
    if not specs:
        return False
    if _fits_together(source, specs):
        return True
    return (
        bool(source) and all(_is_array(item) for item in source) and not all(_fits(item, specs[0]) for item in source)
    )


def _fits_together(arrays: list, specs: Sequence[InputSpec]) -> bool:
    """Whether a list holds one array per input; otherwise it is a list of elements."""
    return len(arrays) == len(specs) and all(
        _is_array(array) and _fits(array, spec) for array, spec in zip(arrays, specs, strict=True)
    )


def _arrange(element: Any, specs: Sequence[InputSpec]) -> list[Any]:
    """Return what the element holds for each input, in the order of the inputs."""
    inputs = element
    if isinstance(element, (tuple, list)):
        whole = len(element) == len(specs) > 1 and all(
            _fits(item, spec) for item, spec in zip(element, specs, strict=True)
        )
        inputs = element if whole else element[0]
    if isinstance(inputs, dict):
        missing = [spec.name for spec in specs if spec.name not in inputs]
        if missing:
            raise DataError(
                f"The calibration data have no entry for input '{missing[0]}'. Expected: a dict with the keys "
                f"{[spec.name for spec in specs]}. Received: {sorted(inputs)}."
            )
        return [inputs[spec.name] for spec in specs]
    if not isinstance(inputs, (tuple, list)):
        inputs = [inputs]
    if len(inputs) != len(specs):
        raise DataError(
            f"The model has {len(specs)} inputs {[spec.name for spec in specs]}. Received: {len(inputs)} in each element "
            "of the calibration data. Give a tuple in the order of the inputs, or a dict by name."
        )
    return list(inputs)


def _fits(value: Any, spec: InputSpec) -> bool:
    shape = getattr(value, "shape", None)
    return (shape is not None and _matches(tuple(shape)[1:], spec)) or _matches(tuple(shape or ()), spec)


def _matches(shape: tuple, spec: InputSpec) -> bool:
    return len(shape) == len(spec.shape) and all(
        expected is None or size == expected for size, expected in zip(shape, spec.shape, strict=True)
    )


def _checked(inputs: list[Any], specs: Sequence[InputSpec]) -> list[np.ndarray]:
    """Return batched arrays that fit the inputs, or raise a DataError that names the input."""
    arrays = []
    for value, spec in zip(inputs, specs, strict=True):
        array = np.asarray(value)
        if _matches(array.shape, spec):
            array = array[np.newaxis]
        if not _matches(array.shape[1:], spec) or array.ndim == 0:
            expected = ", ".join("any" if size is None else str(size) for size in spec.shape)
            raise DataError(
                f"Calibration data for input '{spec.name}' have the wrong shape. Expected: (batch, {expected}). "
                f"Received: {array.shape}. Use Dataset(source, transform_func) to bring them into that shape."
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(
                f"Calibration data for input '{spec.name}' hold NaN or infinite values. Expected: finite numbers. "
                f"Received: {int((~np.isfinite(array)).sum())} such values of {array.size}. Clean the data first."
            )
        arrays.append(array)
    if len({len(array) for array in arrays}) > 1:
        sizes = {spec.name: len(array) for spec, array in zip(specs, arrays, strict=True)}
        raise DataError(f"The inputs of one element have different numbers of samples. Received: {sizes}.")
    return arrays


def _filled(arrays: tuple[np.ndarray, ...], rows: int, batch_size: int) -> Batch:
    """Return a batch of full size that repeats the last of ``rows`` rows."""
    repeats = batch_size - rows
    return Batch(tuple(np.concatenate([array, np.repeat(array[-1:], repeats, 0)]) for array in arrays), rows)


def _cut(waiting: list[list[np.ndarray]], rows: int) -> tuple[tuple[np.ndarray, ...], list[list[np.ndarray]]]:
    """Take ``rows`` rows off the front of a list of chunks; return them and the chunks that are left."""
    taken: list[list[np.ndarray]] = []
    while rows:
        chunk = waiting[0]
        taken.append([array[:rows] for array in chunk])
        if len(chunk[0]) > rows:
            waiting = [[array[rows:] for array in chunk], *waiting[1:]]
            rows = 0
        else:
            rows -= len(chunk[0])
            waiting = waiting[1:]
    return tuple(np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*taken, strict=True)), waiting


def pack_inputs(model: keras.Model, tensors: Sequence[Any]) -> Any:
    """Return one tensor per input, in the order of ``model.inputs``, in the structure the model is called with."""
    return tf.nest.pack_sequence_as(model.input, list(tensors))
