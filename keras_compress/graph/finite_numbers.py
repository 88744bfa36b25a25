"""Numbers of a model that are not finite: which weights hold them, so that they reach no file and no calibration unnoticed.

Masks of attention, and other constants that only add to what a layer computes, may be infinite; NaN is always an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from keras_compress._keras import keras
from keras_compress._threads import WEIGHTS
from keras_compress.errors import CompressionError, UnsupportedModelError
from keras_compress.graph.compressed_entry import inner_variable
from keras_compress.graph.variables import frozen_array, leaf_layers, named_variables
from keras_compress.layers import CompressedLayer, WeightOp

__all__ = ["NotFinite", "numbers_not_finite", "refuse_not_finite", "wrong_numbers"]


@dataclass(frozen=True)
class NotFinite:
    """A weight with numbers that are not finite.

    Attributes:
        layer: path of its layer.
        name: of the variable in the layer.
        count: how many of its numbers are not finite.
        size: how many numbers it has.
    """

    layer: str
    name: str
    count: int
    size: int


def wrong_numbers(layer: str, name: str, array: np.ndarray, *, infinite: bool) -> NotFinite | None:
    """Return what is wrong with an array, None where nothing is.

    Args:
        layer, name: where it belongs.
        array: of any type; of integers and texts nothing is wrong, in float64 numbers that float32 cannot hold are.
        infinite: whether infinite numbers are allowed.
    """
    if array.dtype.kind not in "fcV":
        return None
    with np.errstate(over="ignore"):
        single = array.astype(np.float32) if array.dtype == np.float64 else array  # in which files hold it
    overflown = np.isinf(single) & np.isfinite(array)
    wrong = np.isnan(array) | overflown if infinite else ~np.isfinite(single)
    return NotFinite(layer, name, int(wrong.sum()), array.size) if wrong.any() else None


def numbers_not_finite(model: keras.Model) -> Iterator[NotFinite]:
    """Yield every weight of a model, in the order of its layers, that holds NaN, or infinite numbers where they are compressed.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="dense")])
        >>> model.layers[0].bias.assign([np.nan]) is not None
        True
        >>> list(numbers_not_finite(model))
        [NotFinite(layer='dense', name='bias', count=1, size=1)]
    """
    for path, layer in leaf_layers(model):
        with WEIGHTS:
            arrays: Mapping[str, np.ndarray] = {
                name: frozen_array(variable) for name, variable in named_variables(layer).items()
            }
        for name, array in arrays.items():
            infinite = not _is_compressed(layer, name)
            found = wrong_numbers(path, inner_variable(name) or name, array, infinite=infinite)
            if found is not None:
                yield found


def _is_compressed(layer: keras.layers.Layer, name: str) -> bool:
    """Whether a variable is a compressed weight, or a number of an operation."""
    if isinstance(layer, WeightOp):
        return True
    return isinstance(layer, CompressedLayer) and inner_variable(name) in (None, *layer.weight_paths)


def refuse_not_finite(found: NotFinite, kind: type[CompressionError] = UnsupportedModelError) -> None:
    """Raise an error that names the layer and its weight."""
    raise kind(
        f"The weight '{found.name}' of the layer '{found.layer}' holds NaN or infinite values. Expected: finite numbers. "
        f"Received: {found.count} such values of {found.size}. Take the weights from before the training diverged."
    )
