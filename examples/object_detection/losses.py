"""The two losses of a single-shot detector, for what ``anchors.assign`` makes of the objects of an image.

Source: Liu et al. 2016, arXiv:1512.02325.
"""

import tensorflow as tf

NEGATIVES = 3  # background anchors that count, per anchor on an object


def offsets_loss(target, offsets):
    """Return the smooth L1 distance of the offsets, over the anchors that are on an object, per image."""
    counts = target[..., 4]
    error = tf.abs(target[..., :4] - offsets)
    smooth = tf.where(error < 1.0, 0.5 * tf.square(error), error - 0.5)
    return tf.reduce_sum(counts * tf.reduce_sum(smooth, -1), -1) / tf.maximum(tf.reduce_sum(counts, -1), 1.0)


def classes_loss(target, logits):
    """Return the cross entropy per image, of anchors on objects and of the worst of those on background.

    Nearly all anchors are background, and most of them are easy: three times as many as there are on objects count, those
    with the greatest loss.
    """
    target = tf.cast(target, tf.int32)
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(target, 0), logits)
    on_object = tf.cast(target > 0, tf.float32)
    objects = tf.maximum(tf.reduce_sum(on_object, -1, keepdims=True), 1.0)
    background = tf.where(target == 0, each, -1.0)
    rank = tf.argsort(tf.argsort(tf.stop_gradient(background), direction="DESCENDING"))
    hardest = (tf.cast(rank, tf.float32) < NEGATIVES * objects) & (target == 0)
    return tf.reduce_sum(each * (on_object + tf.cast(hardest, tf.float32)), -1) / objects[..., 0]
