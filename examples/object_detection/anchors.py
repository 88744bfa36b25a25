"""Anchors: boxes of several sizes and shapes all over the image, relative to which a detector describes objects.

Boxes are ``(y_min, x_min, y_max, x_max)`` with the image's sides as 1, as in ``tf.image``. This module places anchors,
says which of them have to find which object, and codes boxes as offsets from anchors and back.
Source: Liu et al. 2016, arXiv:1512.02325.
"""

import numpy as np
import tensorflow as tf

STRIDES = (8, 16, 32)  # pixels between the anchors of each level
SCALES = (0.1, 0.2, 0.4, 0.8)  # side of a level's anchors over the shorter side of the image, and that of the next
RATIOS = (1.0, 2.0, 0.5)  # width over height
ANCHORS_PER_CELL = len(RATIOS) + 1
MATCHED, UNMATCHED = 0.5, 0.4  # overlap from which on an anchor is an object, below which it is background
IGNORED = -1
_CENTRE_UNIT, _SIZE_UNIT = 0.1, 0.2  # offsets of these sizes are 1


def place_anchors(height, width):
    """Return the anchors of an image as ``(anchors, 4)``, in the order in which the heads' outputs are concatenated."""
    boxes = []
    shorter = min(height, width)
    for stride, scale, next_scale in zip(STRIDES, SCALES, SCALES[1:], strict=False):
        shapes = [(scale / ratio**0.5, scale * ratio**0.5) for ratio in RATIOS] + [((scale * next_scale) ** 0.5,) * 2]
        rows, columns = -(-height // stride), -(-width // stride)
        for row in range(rows):
            for column in range(columns):
                y, x = (row + 0.5) / rows, (column + 0.5) / columns
                for tall, wide in shapes:
                    half_height, half_width = tall * shorter / height / 2, wide * shorter / width / 2
                    boxes.append((y - half_height, x - half_width, y + half_height, x + half_width))
    return np.array(boxes, np.float32)


def assign(boxes, labels, anchors):
    """Tell every anchor what it has to predict.

    Args:
        boxes: ``(objects, 4)``; there may be none.
        labels: ``(objects,)``, integers from 1.
        anchors: ``(anchors, 4)``.

    Returns:
        ``{"offsets": (anchors, 5), "classes": (anchors,)}``: the four offsets and whether they count; the label of the object
        that an anchor overlaps, 0 for background, ``IGNORED`` between the two. Every object has at least the anchor that
        overlaps it most.
    """
    objects = tf.shape(boxes)[0]
    boxes = tf.concat([boxes, tf.zeros([1, 4])], axis=0)  # an object that overlaps nothing, lest there be none
    labels = tf.concat([tf.cast(labels, tf.int32), [0]], axis=0)
    overlaps = intersection_over_union(boxes, anchors)
    nearest = tf.argmax(overlaps, axis=0, output_type=tf.int32)
    overlap = tf.reduce_max(overlaps, axis=0)
    best = tf.argmax(overlaps[:objects], axis=1, output_type=tf.int32)[:, tf.newaxis]
    nearest = tf.tensor_scatter_nd_update(nearest, best, tf.range(objects))
    overlap = tf.tensor_scatter_nd_update(overlap, best, tf.ones([objects]))
    matched = overlap >= MATCHED
    classes = tf.where(matched, tf.gather(labels, nearest), tf.where(overlap < UNMATCHED, 0, IGNORED))
    offsets = tf.where(matched[:, tf.newaxis], encode(tf.gather(boxes, nearest), anchors), 0.0)
    return {"offsets": tf.concat([offsets, tf.cast(matched, tf.float32)[:, tf.newaxis]], axis=1), "classes": classes}


def intersection_over_union(boxes, others):
    """Return the overlap of every box with every other one, ``(boxes, others)``."""
    boxes, others = boxes[:, tf.newaxis], others[tf.newaxis]
    sides = tf.minimum(boxes[..., 2:], others[..., 2:]) - tf.maximum(boxes[..., :2], others[..., :2])
    intersection = tf.reduce_prod(tf.maximum(sides, 0.0), axis=-1)
    return intersection / (_area(boxes) + _area(others) - intersection)


def encode(boxes, anchors):
    """Return boxes as offsets from anchors: of the centre in sizes of the anchor, and of the logarithm of the size."""
    centre, size = _centre_and_size(boxes)
    anchor_centre, anchor_size = _centre_and_size(anchors)
    moved = (centre - anchor_centre) / anchor_size / _CENTRE_UNIT
    return tf.concat([moved, tf.math.log(tf.maximum(size, 1e-6) / anchor_size) / _SIZE_UNIT], axis=-1)


def decode(offsets, anchors):
    """Return the boxes that offsets from anchors, ``(..., anchors, 4)``, stand for."""
    anchor_centre, anchor_size = _centre_and_size(anchors)
    centre = anchor_centre + offsets[..., :2] * _CENTRE_UNIT * anchor_size
    size = anchor_size * tf.exp(tf.minimum(offsets[..., 2:] * _SIZE_UNIT, 4.0))
    return tf.concat([centre - size / 2, centre + size / 2], axis=-1)


def _centre_and_size(boxes):
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]


def _area(boxes):
    return tf.reduce_prod(boxes[..., 2:] - boxes[..., :2], axis=-1)
