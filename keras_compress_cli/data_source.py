"""Reading samples from files of arrays, folders of images and functions, for a model or for its shapes."""

from __future__ import annotations

import argparse
import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras
from keras_compress.data import InputSpec
from keras_compress.errors import DataError
from keras_compress_cli.command import UsageError
from keras_compress_cli.entry_point import import_function, is_entry_point

__all__ = ["read_data"]

#: Images in a batch, and the start of the random numbers by which they are shuffled.
BATCH, SEED = 32, 0
LABELS = "y"
#: Names of folders that divide a data set.
PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"}


class PreparedImages:
    """Batches of a ``tf.data.Dataset`` of images, or of images and labels, with the images prepared."""

    def __init__(self, batches: tf.data.Dataset, prepare: Callable[[np.ndarray], Any]):
        self._batches, self._prepare = batches, prepare

    def __iter__(self) -> Iterator[Any]:
        for element in self._batches.as_numpy_iterator():
            if isinstance(element, tuple):
                yield (self._prepare(element[0]), *element[1:])
            else:
                yield self._prepare(element)


def read_data(
    source: str,
    specs: Sequence[InputSpec],
    arguments: argparse.Namespace,
    *,
    samples: int | None = None,
    labelled: bool = False,
) -> Any:
    """Return samples as ``kc.Dataset`` takes them.

    Args:
        source: a ``.npy`` or ``.npz`` file, a folder of images, or ``module:function``.
        specs: the inputs of the model.
        arguments: with ``scale``, ``preprocess`` and ``image_size``, see
            :func:`~keras_compress_cli.arguments.add_data`.
        samples: how many are needed; of a file of arrays so many are taken at equal distances. Default: all.
        labelled: labels are needed too. Default False.

    Raises:
        UsageError: there is nothing of that name, or it is of another kind.
        DataError: it does not hold what the model takes.
    """
    if is_entry_point(source):
        if arguments.scale is not None or arguments.preprocess is not None:
            raise UsageError(
                "--scale and --preprocess are for files. Let the function of --data return prepared samples."
            )
        return import_function(source)()
    path = Path(source)
    if not path.exists():
        raise UsageError(f"There are no data '{source}'. Expected: a file, a folder of images, or module:function.")
    prepare = _preparation(arguments)
    if path.is_dir():
        return _images(path, specs, arguments.image_size, prepare, labelled)
    if path.suffix not in (".npy", ".npz"):
        raise UsageError(
            f"'{source}' is no file of samples. Expected: .npy, .npz, a folder of images, or module:function."
        )
    try:
        stored = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"'{path}' cannot be read: {error}. Expected: what numpy.save or numpy.savez has written."
        ) from None
    arrays: dict[str, np.ndarray] = {"": stored} if isinstance(stored, np.ndarray) else dict(stored)
    return _from_arrays(path, arrays, specs, prepare, samples, labelled)


def _preparation(arguments: argparse.Namespace) -> Callable[[Any], Any]:
    function = None if arguments.preprocess is None else import_function(arguments.preprocess)

    def prepare(inputs: np.ndarray) -> Any:
        if arguments.scale is not None:
            inputs = np.asarray(inputs, np.float32) * np.float32(arguments.scale)
        return inputs if function is None else np.asarray(function(np.array(inputs)))

    return prepare


def _from_arrays(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    specs: Sequence[InputSpec],
    prepare: Callable[[Any], Any],
    samples: int | None,
    labelled: bool,
) -> Any:
    taken = {name for spec in specs for name in (spec.name, spec.label)}
    labels = arrays.get(LABELS) if LABELS not in taken else None
    if labelled and labels is None:
        raise DataError(f"'{path}' has no labels. Expected: a .npz file with the labels in an array '{LABELS}'.")
    names = [name for name in arrays if labels is None or name != LABELS]
    keys = [spec.label for spec in specs]
    wanted = keys if set(keys) <= set(names) else [spec.name for spec in specs]
    if not set(wanted) <= set(names):
        if len(names) != 1 or len(wanted) > 1:
            raise DataError(
                f"'{path}' does not hold the inputs of the model. Expected: arrays {keys}, or a single one for a model of "
                f"one input, and labels as '{LABELS}'. Received: {sorted(arrays)}."
            )
        wanted = names
    total = len(arrays[wanted[0]]) if arrays[wanted[0]].ndim else 0
    picked: Any = slice(None)
    if samples is not None and samples < total:
        picked = np.linspace(0, total - 1, samples).astype(int)
    inputs = tuple(prepare(np.asarray(arrays[name][picked])) for name in wanted)
    by_layer = zip((spec.name for spec in specs), inputs, strict=True)
    values: Any = inputs[0] if len(inputs) == 1 else dict(by_layer)
    return values if labels is None else (values, labels[picked])


def _images(
    folder: Path,
    specs: Sequence[InputSpec],
    size: Sequence[int] | None,
    prepare: Callable[[Any], Any],
    labelled: bool,
) -> PreparedImages:
    shape = specs[0].shape
    channels = {1: "grayscale", 3: "rgb", 4: "rgba"}.get(shape[-1] or 3) if len(shape) == 3 else None
    if len(specs) != 1 or channels is None:
        inputs = {spec.name: spec.shape for spec in specs}
        raise DataError(
            f"Images do not fit the model. Expected: one input of height, width and 1, 3 or 4 channels. Received: {inputs}."
        )
    wanted = tuple(size) if size is not None else shape[:2]
    if None in wanted:
        raise UsageError("The model takes images of any size. Pass --image-size HEIGHT WIDTH.")
    parts = sorted(child.name for child in folder.iterdir() if child.is_dir())
    if len(parts) > 1 and {part.lower() for part in parts} <= PARTS:
        warnings.warn(
            f"'{folder}' holds {parts}, which look like parts of one data set: their images are mixed, and labels would be "
            f"these names. Pass one of them, as {folder / parts[0]}.",
            stacklevel=2,
        )
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it counts the files aloud
            batches = keras.utils.image_dataset_from_directory(
                str(folder),
                labels="inferred" if labelled else None,
                color_mode=channels,
                batch_size=BATCH,
                image_size=wanted,
                seed=SEED,
            )
    except ValueError as error:
        raise DataError(f"'{folder}' holds no images: {error}") from None
    return PreparedImages(batches, prepare)
