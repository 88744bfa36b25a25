"""Elements: what one element of the data holds for each input of a model, as checked arrays of samples.

Whether an element is a batch or a single sample is decided once for all its inputs, by their ranks. As in Keras, a last
axis of size one may be missing or too many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress.data.input_spec import InputSpec
from keras_compress.errors import DataError

__all__ = ["arrange", "as_input_type", "checked_arrays", "fit_together", "holds_numbers", "is_array", "is_batch"]

#: Ways to read shapes, the plainest first: whether there is an axis of samples, and whether a last axis of one may differ.
_READINGS = ((True, False), (False, False), (True, True), (False, True))


def is_array(value: Any) -> bool:
    """Return whether something is an array of any framework, and no structure of arrays."""
    return hasattr(value, "shape") and (hasattr(value, "__array__") or isinstance(value, tf.TypeSpec))


def arrange(element: Any, specs: Sequence[InputSpec]) -> list[Any]:
    """Return what an element holds for each input, in the order of the inputs.

    An element is the inputs, or a tuple of inputs, targets and whatever follows. The inputs of a model come in the
    structure it is called with, in a dict by the names of the input layers, or in a tuple in the order of the inputs.

    Raises:
        DataError: there are too few or too many inputs, or one of them is missing.
    """
    inputs, whole = element, None
    if isinstance(element, (tuple, list)):
        whole = _flat(element, specs)
        if whole is None or not fit_together(whole, specs):
            if not len(element):
                raise DataError(
                    f"An element of the data is empty. Expected: inputs {_labels(specs)}. Received: {element!r}."
                )
            inputs = element[0]
    found = _flat(inputs, specs)
    if found is not None:
        return found
    if isinstance(inputs, Mapping):
        _refuse_entries(inputs, specs)
    if inputs is not element and len(specs) == 1 and _are_numbers(inputs):
        return [inputs]  # a sample in plain Python, and its target
    if whole is not None and all(map(_are_numbers, whole)) and fit_together(list(map(np.asarray, whole)), specs):
        return whole  # a sample in plain Python for each input
    count = len(inputs) if isinstance(inputs, (tuple, list)) else 1
    raise DataError(
        f"The model has {len(specs)} inputs {_labels(specs)}. Received: {count} in each element of the calibration data. "
        "Give a tuple in the order of the inputs, or a dict by name."
    )


def _refuse_entries(inputs: Mapping, specs: Sequence[InputSpec]) -> None:
    """Raise a DataError that names the first input for which a dict has no entry, or one that is neither array nor numbers."""
    for spec, value in zip(specs, _entries(inputs, specs), strict=True):
        if value is None and not any(key in inputs and inputs[key] is None for key in (spec.label, spec.name)):
            names = [spec.name for spec in specs]
            other = f", or by layer {names}" if names != _labels(specs) else ""
            raise DataError(
                f"The calibration data have no entry for input '{spec.label}'. Expected: a dict with the keys "
                f"{_labels(specs)}{other}. Received: {sorted(map(str, inputs))}."
            )
        if not _is_entry(value):
            raise DataError(
                f"The calibration data have nothing to read for input '{spec.label}'. Expected: an array, or the numbers of a "
                f"sample. Received: {type(value).__name__}. Use Dataset(source, transform_func) to bring the data into that form."
            )


def _labels(specs: Sequence[InputSpec]) -> list[str]:
    return [spec.label for spec in specs]


def _flat(inputs: Any, specs: Sequence[InputSpec]) -> list[Any] | None:
    """Return inputs as a flat list in the order of the model, None if they have another structure."""
    if isinstance(inputs, Mapping):
        found = _entries(inputs, specs)
        return found if all(map(_is_entry, found)) else None
    if not isinstance(inputs, (tuple, list)):
        return [inputs] if len(specs) == 1 else None
    if all(spec.place for spec in specs) and len(inputs) == len({spec.place[0] for spec in specs}):
        found = [_at(inputs, spec.place) for spec in specs]
        if not any(value is None or isinstance(value, (Mapping, tuple)) for value in found):
            return found
    return list(inputs) if len(inputs) == len(specs) else None


def _entries(inputs: Mapping, specs: Sequence[InputSpec]) -> list[Any]:
    """Return what a dict holds for each input: all by their keys, or all by their layers, or each as it can be; else None."""
    by_key = [_at(inputs, spec.place) if spec.place else None for spec in specs]
    by_layer = [inputs.get(spec.name) for spec in specs]
    for found in (by_key, by_layer):
        if all(value is not None for value in found):
            return found
    taken = {spec.place[0] for spec, value in zip(specs, by_key, strict=True) if value is not None}
    return [
        named if value is None and spec.name not in taken else value
        for spec, value, named in zip(specs, by_key, by_layer, strict=True)
    ]


def _is_entry(value: Any) -> bool:
    """Whether something can be one input: an array, a list, a number, or a tuple of numbers."""
    return not (value is None or isinstance(value, Mapping)) and (not isinstance(value, tuple) or _are_numbers(value))


def _are_numbers(value: Any) -> bool:
    """Whether something is a nested list or tuple of numbers, each of them as long as the others."""
    if not isinstance(value, (tuple, list)) or not len(value):
        return False
    try:
        return np.asarray(value).dtype.kind in "biufc" and all(np.ndim(item) == 0 for item in tf.nest.flatten(value))
    except ValueError:  # of different lengths
        return False


def _at(structure: Any, place: Sequence[Any]) -> Any:
    """Return what stands at a place of a nested structure, None if there is none."""
    for key in place:
        if isinstance(structure, Mapping):
            structure = structure.get(key)
        elif isinstance(structure, (tuple, list)) and isinstance(key, int) and key < len(structure):
            structure = structure[key]
        else:
            return None
    return structure


def _shape(value: Any) -> tuple[int | None, ...] | None:
    """Return the shape of an array, a number or a list of numbers; None for a structure of arrays."""
    if is_array(value):
        shape = value.shape
        if isinstance(shape, tf.TensorShape):
            return None if shape.rank is None else tuple(shape.as_list())
        return tuple(shape)
    if isinstance(value, (Mapping, tuple)) or (isinstance(value, list) and any(map(is_array, value))):
        return None
    try:
        return np.shape(value)
    except ValueError:  # lists of different lengths
        return None


def fit_together(values: Sequence[Any], specs: Sequence[InputSpec]) -> bool:
    """Return whether values can be the inputs of one element, all batches or all single samples."""
    return _reading([_shape(value) for value in values], specs) is not None


def is_batch(values: Sequence[Any], specs: Sequence[InputSpec]) -> bool | None:
    """Return whether the inputs of an element are batches, None if they do not fit."""
    reading = _reading([_shape(value) for value in values], specs)
    return None if reading is None else reading[0]


def _reading(shapes: Sequence[tuple | None], specs: Sequence[InputSpec]) -> tuple[bool, bool] | None:
    for batched, conform in _READINGS:
        if all(
            shape is not None and _fits(shape, spec, batched, conform)
            for shape, spec in zip(shapes, specs, strict=True)
        ):
            return batched, conform
    return None


def _fits(shape: tuple, spec: InputSpec, batched: bool, conform: bool) -> bool:
    if batched and not shape:
        return False
    sizes = shape[1:] if batched else shape
    return _matches(sizes, spec.shape) or (
        conform
        and (_matches(sizes, (*spec.shape, 1)) or (spec.shape[-1:] == (1,) and _matches(sizes, spec.shape[:-1])))
    )


def _matches(sizes: tuple, expected: tuple) -> bool:
    return len(sizes) == len(expected) and all(
        size is None or wanted is None or size == wanted for size, wanted in zip(sizes, expected, strict=True)
    )


def checked_arrays(values: Sequence[Any], specs: Sequence[InputSpec]) -> list[np.ndarray]:
    """Return the inputs of an element as arrays of samples, of whatever type, or raise a DataError that names the input."""
    arrays = [np.asarray(value) for value in values]
    reading = _reading([array.shape for array in arrays], specs)
    if reading is None:
        _refuse_shapes(arrays, specs)
    elif not reading[0]:
        arrays = [array[np.newaxis] for array in arrays]
    arrays = [
        array if _matches(array.shape[1:], spec.shape) else _conformed(array, spec)
        for array, spec in zip(arrays, specs, strict=True)
    ]
    for array, spec in zip(arrays, specs, strict=True):
        _require_numbers(array, spec)
    if len({len(array) for array in arrays}) > 1:
        sizes = {spec.label: len(array) for spec, array in zip(specs, arrays, strict=True)}
        raise DataError(f"The inputs of one element have different numbers of samples. Received: {sizes}.")
    return arrays


def _conformed(array: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return an array with the last axis of one that is missing, or without the one that is too many."""
    return array[..., np.newaxis] if array.ndim - 1 < len(spec.shape) else array[..., 0]


def _refuse_shapes(arrays: Sequence[np.ndarray], specs: Sequence[InputSpec]) -> None:
    for array, spec in zip(arrays, specs, strict=True):
        if _reading([array.shape], [spec]) is None:
            expected = ", ".join("any" if size is None else str(size) for size in spec.shape)
            raise DataError(
                f"Calibration data for input '{spec.label}' have the wrong shape. Expected: (batch, {expected}). "
                f"Received: {array.shape}. Use Dataset(source, transform_func) to bring them into that shape."
            )
    shapes = {spec.label: array.shape for spec, array in zip(specs, arrays, strict=True)}
    raise DataError(
        "Some inputs of an element are batches, others single samples. Expected: all batches, or all single samples. "
        f"Received: shapes {shapes}. Batch them together, as tf.data's batch does."
    )


def _require_numbers(array: np.ndarray, spec: InputSpec) -> None:
    """Raise a DataError if the type of an array, whatever its values are, is none for an input."""
    target = tf.as_dtype(spec.dtype)
    if target == tf.string:
        return
    if array.dtype.kind == "c" and not target.is_complex:
        raise DataError(
            f"Calibration data for input '{spec.label}' are complex. Expected: {spec.dtype}, which has no imaginary part. "
            f"Received: {array.dtype}. Pass what the model was trained on, for example numpy.abs of the values."
        )
    if not holds_numbers(array):
        raise DataError(
            f"Calibration data for input '{spec.label}' are no numbers. Expected: {spec.dtype}. Received: {array.dtype}. Pass an "
            "array of numbers."
        )


def holds_numbers(array: np.ndarray) -> bool:
    """Return whether an array holds numbers: of NumPy, or of a type of 8 or 16 bits that it does not know, as bfloat16.

    Example:
        >>> holds_numbers(np.zeros(2)), holds_numbers(np.zeros(2, "V4")), holds_numbers(np.zeros(2, [("a", "f4")]))
        (True, False, False)
    """
    return array.dtype.kind in "biufc" or (array.dtype.kind == "V" and not issubclass(array.dtype.type, np.void))


def as_input_type(array: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return numbers in the type of the input; only here their values are looked at.

    Raises:
        DataError: they are not finite, or the type cannot hold them.
    """
    target = tf.as_dtype(spec.dtype)
    if target == tf.string:
        return array
    if array.dtype.kind == "V":
        array = array.astype(np.float32)
    if not (target.is_floating or target.is_complex):
        if array.dtype.kind in "fc":
            _require_finite(array, array, spec)
        if target.is_integer and array.dtype.kind in "iuf" and array.size:
            _require_fitting(array, target, spec)
    with np.errstate(over="ignore"):  # what overflows is named below
        cast = array.astype(target.as_numpy_dtype, copy=False)
    if target.is_floating or target.is_complex:
        _require_finite(cast, array, spec)
    return cast


def _require_finite(cast: np.ndarray, array: np.ndarray, spec: InputSpec) -> None:
    finite = np.isfinite(cast)
    if not finite.all():
        overflown = array.dtype.kind in "iub" or np.isfinite(array).all()
        raise DataError(
            f"Calibration data for input '{spec.label}' hold NaN or infinite values{f' in {spec.dtype}' if overflown else ''}. "
            f"Expected: finite numbers. Received: {int((~finite).sum())} such values of {cast.size}. Clean the data first."
        )


def _require_fitting(array: np.ndarray, target: tf.DType, spec: InputSpec) -> None:
    low, high = array.min(), array.max()
    if low < target.min or high > target.max:
        raise DataError(
            f"Calibration data for input '{spec.label}' do not fit its type. Expected: {spec.dtype}, numbers from "
            f"{target.min} to {target.max}. Received: {low} to {high}."
        )
