"""A small single-shot detector (SSD): a convolutional backbone, and heads on three of its resolutions.

An ordinary Functional model. Its outputs are raw, offsets from anchors and one logit per class; :func:`detect` turns them
into boxes. Source: Liu et al. 2016, arXiv:1512.02325.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras as keras

from examples.object_detection.anchors import ANCHORS_PER_CELL, STRIDES, decode

layers = keras.layers


def build_detector(input_shape, classes, widths=(16, 32, 64, 96, 128)):
    """Return an untrained detector with the outputs ``offsets`` (images, anchors, 4) and ``classes`` (images, anchors, 1 + classes).

    ``widths`` are the channels at strides 2, 4, 8, 16 and 32; the heads read the last three. With the default widths it has
    about 550 thousand parameters. Of the classes, number 0 is background.
    """
    image = x = keras.Input(input_shape, name="image")
    offsets, logits = [], []
    for level, filters in enumerate(widths):
        stride = 2 ** (level + 1)
        x = _convolution(x, filters, 2, f"down{stride}")
        if level > 0:
            x = layers.Add(name=f"add{stride}")([x, _convolution(x, filters, 1, f"block{stride}")])
        if stride in STRIDES:
            offsets.append(_head(x, 4, f"offsets{stride}"))
            logits.append(_head(x, 1 + classes, f"classes{stride}"))
    outputs = [
        layers.Concatenate(axis=1, name=name)(heads) for name, heads in (("offsets", offsets), ("classes", logits))
    ]
    return keras.Model(image, outputs, name="detector")


def _convolution(x, filters, stride, name):
    x = layers.Conv2D(
        filters, 3, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(momentum=0.97, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _head(x, numbers, name):
    x = layers.Conv2D(ANCHORS_PER_CELL * numbers, 3, padding="same", name=f"{name}_head")(x)
    return layers.Reshape((-1, numbers), name=f"{name}_by_anchor")(x)


@dataclass(frozen=True)
class Detections:
    """What was found in one image: ``boxes`` (found, 4), their ``labels`` from 1, and ``scores`` in [0, 1], falling."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def detect(outputs, anchors, most=100, overlap=0.45, least_score=0.01):
    """Return the :class:`Detections` of every image: boxes decoded, and of those that overlap only the best.

    Args:
        outputs: offsets and logits, as the model or an exported file returns them.
        anchors: from ``place_anchors``.
        most: detections per image.
        overlap: intersection over union from which on two boxes of a class are one object.
        least_score: below it, a box is left out.
    """
    offsets, logits = (tf.convert_to_tensor(output) for output in outputs)
    boxes = decode(offsets, anchors)[:, :, tf.newaxis]
    found = tf.image.combined_non_max_suppression(
        boxes, tf.nn.softmax(logits)[..., 1:], most, most, overlap, least_score, clip_boxes=True
    )
    boxes, scores, classes, counts = (part.numpy() for part in found)
    return [
        Detections(boxes[image, :count], classes[image, :count].astype(int) + 1, scores[image, :count])
        for image, count in enumerate(counts)
    ]
