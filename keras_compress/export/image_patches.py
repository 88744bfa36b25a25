"""Patches of images in graphs: written with operations that every runtime has.

TensorFlow has one operation that cuts an image into patches. ONNX and TensorFlow Lite have none, and what converters
write in its place does not load when the batch is open. Slices, or blocks for patches side by side, only move numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import tensorflow as tf

from keras_compress.export.graph_editing import GraphEditor

__all__ = ["write_patches_as_moves"]

_OPERATION = "ExtractImagePatches"


def write_patches_as_moves(graph_def: tf.compat.v1.GraphDef, shape_of: Callable[[str], tf.TensorShape]) -> None:
    """Replace every extraction of patches by operations that only move numbers, in place.

    One whose padding depends on a size that is open stays as it is.

    Args:
        graph_def: the graph.
        shape_of: returns the shape of what a reference of a node reads; unknown sizes are None.
    """
    editor = GraphEditor(graph_def)
    for node in [node for node in graph_def.node if node.op == _OPERATION]:
        shape = shape_of(node.input[0])
        window = [tuple(node.attr[key].list.i)[1:3] for key in ("ksizes", "strides", "rates")]
        build = _patches(shape, *window, padding=node.attr["padding"].s.decode())
        if build is not None:
            editor.replace(node, build, shape, tf.dtypes.as_dtype(node.attr["T"].type))


def _patches(
    shape: tf.TensorShape, sizes: Sequence[int], strides: Sequence[int], rates: Sequence[int], *, padding: str
) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """Return what computes ``tf.image.extract_patches`` of a tensor, None where that needs sizes that are not known."""
    if shape.rank != 4 or shape[-1] is None:
        return None
    extents = [(size - 1) * rate + 1 for size, rate in zip(sizes, rates, strict=True)]
    paddings = [(0, 0), (0, 0)]
    if padding == "SAME":
        totals = [_padding(*known) for known in zip(shape[1:3], extents, strides, strict=True)]
        if None in totals:
            return None
        paddings = [(total // 2, total - total // 2) for total in totals if total is not None]
    side_by_side = tuple(sizes) == tuple(strides) and set(rates) == {1}
    cut = partial(_blocks, sizes=sizes) if side_by_side else partial(_slices, sizes, strides, rates, extents)
    if not any(map(any, paddings)):
        return cut
    return lambda images: cut(tf.pad(images, [(0, 0), *paddings, (0, 0)]))


def _padding(size: int | None, extent: int, stride: int) -> int | None:
    if stride == 1:
        return extent - 1
    return None if size is None else max((-(-size // stride) - 1) * stride + extent - size, 0)


def _blocks(images: tf.Tensor, sizes: Sequence[int]) -> tf.Tensor:
    """Return patches that lie side by side; what is left over at the end is cut off."""
    height, width = sizes
    ends: list[Any] = []
    for axis, size in ((1, height), (2, width)):
        known = images.shape[axis]
        ends.append(known // size * size if known is not None else tf.shape(images)[axis] // size * size)
    if [*images.shape[1:3]] != ends:
        images = images[:, : ends[0], : ends[1]]
    if height == width:
        return images if height == 1 else tf.nn.space_to_depth(images, height)
    channels = images.shape[-1]
    rows = images.shape[1] // height if images.shape[1] is not None else ends[0] // height
    columns = images.shape[2] // width if images.shape[2] is not None else ends[1] // width
    # one axis at a time, so that no tensor has more than five: runtimes transpose those
    stripes = tf.reshape(images, [-1, height, ends[1], channels])
    stripes = tf.reshape(stripes, [-1, height, columns, width * channels])
    return tf.reshape(tf.transpose(stripes, [0, 2, 1, 3]), [-1, rows, columns, height * width * channels])


def _slices(
    sizes: Sequence[int], strides: Sequence[int], rates: Sequence[int], extents: Sequence[int], images: tf.Tensor
) -> tf.Tensor:
    """Return one slice of the images for each place in a patch, joined in the order of the places."""
    places = []
    for row in range(0, extents[0], rates[0]):
        for column in range(0, extents[1], rates[1]):
            ends = [place + 1 - extent or None for place, extent in zip((row, column), extents, strict=True)]
            places.append(images[:, row : ends[0] : strides[0], column : ends[1] : strides[1]])
    return places[0] if len(places) == 1 else tf.concat(places, -1)
