"""Dataset: calibration data in any sane form, checked and cut into batches of one size for a model.

The model always sees batches of the same size, filled up where the data end; so the order of the data's own batches,
their size and the form in which the data came make no difference to what is measured. A model with a fixed batch gets
batches of exactly that size.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.data.batching import Batch, Rebatcher
from keras_compress.data.elements import arrange, as_input_type, checked_arrays, fit_together, is_array, is_batch
from keras_compress.data.input_spec import InputSpec, fixed_batch
from keras_compress.errors import DataError

__all__ = ["Dataset"]

#: Elements in a row that may be empty before the data count as broken.
EMPTY_ELEMENTS = 1000


class Dataset:
    """Data to calibrate or evaluate with.

    Args:
        source: a ``tf.data.Dataset``, a ``keras.utils.Sequence``, an array, a tuple or dict of arrays, a function that
            returns an iterator, or any iterable of elements such as a list of batches or a data loader. An element is
            the model's input, or a tuple ``(input, target, …)`` of which the first is taken; several inputs come as a
            tuple, in the structure the model is called with, or as a dict by the names of the input layers. Elements
            may be batches of any size or single samples: all inputs of an element are one or the other.
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

    def batches(
        self,
        specs: Sequence[InputSpec],
        batch_size: int = 32,
        limit: int | None = None,
        leave_out: range = range(0),
    ) -> Iterator[Batch]:
        """Yield checked batches of one size, in the types of the inputs.

        Args:
            specs: the inputs of the model, see :func:`~keras_compress.data.input_specs`.
            batch_size: rows per batch, if the model takes any number; else it gets the number it takes.
            limit: the number of samples to stop after; None for all.
            leave_out: positions of samples that are read, and left out. Default: none.

        Raises:
            DataError: the data do not fit the inputs, are not finite in their types up to the limit, or are empty.
        """
        size = fixed_batch(specs) or batch_size
        rebatcher = Rebatcher(size)
        total = 0
        for arrays in self._inputs(specs):
            rows = len(arrays[0]) if limit is None else min(len(arrays[0]), limit - total)
            for start in range(0, rows, size):  # checked and cast in parts: an array of all data may be large
                part = slice(start, min(start + size, rows))
                cast = [as_input_type(array[part], spec) for array, spec in zip(arrays, specs, strict=True)]
                yield from rebatcher.add(_without(cast, total + start, leave_out))
            total += rows
            if limit is not None and total >= limit:
                break
        if total == 0:
            raise DataError("The calibration data are empty. Expected: at least one sample.")
        yield from rebatcher.rest()

    def first_element(self, specs: Sequence[InputSpec]) -> list[np.ndarray]:
        """Return the first element with samples, one checked array per input in the type of the input.

        Raises:
            DataError: as :meth:`batches`.
        """
        arrays = next((arrays for arrays in self._inputs(specs) if len(arrays[0])), None)
        if arrays is None:
            raise DataError("The data are empty. Expected: at least one sample.")
        return [as_input_type(array, spec) for array, spec in zip(arrays, specs, strict=True)]

    def number_of_batches(self, specs: Sequence[InputSpec]) -> int | None:
        """Return how many batches the source itself has, where it knows: a batched tf.data.Dataset or a Sequence."""
        if isinstance(self.source, tf.data.Dataset) and self.transform_func is None:
            count = int(self.source.cardinality().numpy())
            try:
                batched = is_batch(arrange(self.source.element_spec, specs), specs)
            except DataError:
                batched = True  # of unknown rank
            return count if count > 0 and batched is not False else None
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

    def _inputs(self, specs: Sequence[InputSpec]) -> Iterator[list[Any]]:
        """Yield the arrays of every element; give up on a source that has nothing but empty ones."""
        empty = 0
        for element in self._elements(specs):
            if self.transform_func is not None:
                element = self.transform_func(element)
            arrays = checked_arrays(arrange(element, specs), specs)
            empty = 0 if len(arrays[0]) else empty + 1
            if empty >= EMPTY_ELEMENTS:
                raise DataError(
                    f"The calibration data give no samples: {empty} elements in a row were empty. Expected: batches of at "
                    f"least one sample. Received for input '{specs[0].label}': shape {arrays[0].shape}. Look at what the "
                    "source yields first."
                )
            yield arrays

    def _elements(self, specs: Sequence[InputSpec]) -> Iterator[Any]:
        source = self.source
        if self._replay is not None:
            return iter(self._replay)
        if isinstance(source, list) and not _is_one_element(source, specs):
            return iter(source)
        if (
            is_array(source)
            or isinstance(source, Mapping)
            or (isinstance(source, (tuple, list)) and _holds_arrays(source))
        ):
            return iter([source])
        if isinstance(source, keras.utils.Sequence):
            return (source[index] for index in range(len(source)))
        if isinstance(source, (type, tf.Module, str, bytes)):
            raise _no_data(source)
        made = source() if callable(source) and not isinstance(source, Iterable) else source
        if not isinstance(made, Iterable):
            raise _no_data(source)
        return iter(made)


def _without(arrays: Sequence[np.ndarray], first: int, left_out: range) -> Sequence[np.ndarray]:
    """Return the rows of arrays, the first of which is the sample at ``first``, without those at some positions."""
    positions = np.arange(first, first + len(arrays[0]))
    kept = (positions < left_out.start) | (positions >= left_out.stop)
    return arrays if kept.all() else [array[kept] for array in arrays]


def _no_data(source: Any) -> DataError:
    return DataError(
        "Calibration data must be a tf.data.Dataset, arrays, a Sequence, a generator function or an iterable. Expected: one of "
        f"these for 'data'. Received: {type(source).__name__}. Pass an array with samples along its first axis."
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


def _holds_arrays(value: Any) -> bool:
    """Whether a nested structure consists of whole arrays: all data at once, with or without targets."""
    flat = [item for item in tf.nest.flatten(value) if item is not None]
    return len(flat) > 0 and all(map(is_array, flat))


def _is_one_element(source: list, specs: Sequence[InputSpec]) -> bool:
    """Whether a list is all data at once, ``[inputs, targets]`` or one array per input, and not a list of elements."""
    if not specs or not source:
        return False
    if all(map(is_array, source)):
        whole = len(source) == len(specs) and fit_together(source, specs)
        return whole or not all(fit_together([item], specs[:1]) for item in source)
    # [[a, b], targets]: the inputs in a structure of their own, and arrays behind them
    return len(specs) > 1 and not is_array(source[0]) and len(source) > 1 and all(map(is_array, source[1:]))
