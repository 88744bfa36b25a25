"""Batches of images and of what every anchor has to predict, from annotated images."""

import tensorflow as tf

from examples.object_detection.anchors import assign


def training_batches(pictures, size, anchors, batch_size, seed):
    """Return shuffled batches ``(images in [0, 1], targets of the anchors)``.

    An image is enlarged up to 1.5 times and cropped, flipped from left to right, and its brightness and contrast changed. An
    object is in the crop if its centre is.
    """
    kept = [~picture.difficult for picture in pictures]
    boxes = tf.ragged.stack([tf.constant(p.boxes[k], tf.float32) for p, k in zip(pictures, kept, strict=True)])
    labels = tf.ragged.stack([tf.constant(p.labels[k], tf.int32) for p, k in zip(pictures, kept, strict=True)])
    objects = tf.data.Dataset.from_tensor_slices((boxes, labels))

    def augmented(image, objects):
        image, boxes, labels = _crop(image, tf.reshape(objects[0].to_tensor(), [-1, 4]), objects[1])
        image = tf.image.random_contrast(tf.image.random_brightness(image, 0.1), 0.8, 1.2)
        return tf.clip_by_value(image, 0.0, 1.0), assign(boxes, labels, anchors)

    dataset = tf.data.Dataset.zip((images(pictures, size), objects)).cache().shuffle(len(pictures), seed=seed)
    dataset = dataset.map(augmented, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(batch_size, drop_remainder=len(pictures) >= batch_size).prefetch(tf.data.AUTOTUNE)


def images(pictures, size):
    """Return the images one by one, of ``size`` and in [0, 1]."""

    def read(path):
        image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
        return tf.clip_by_value(tf.image.resize(image, size, antialias=True) / 255.0, 0.0, 1.0)

    paths = tf.data.Dataset.from_tensor_slices([str(picture.path) for picture in pictures])
    return paths.map(read, num_parallel_calls=tf.data.AUTOTUNE)


def _crop(image, boxes, labels, zoom=1.5):
    """Enlarge, crop and flip an image, and what of its objects is left in it."""
    side = 1.0 / tf.random.uniform([], 1.0, zoom)
    corner = tf.random.uniform([2]) * (1.0 - side)
    height, width = image.shape[:2]
    window = tf.concat([corner, corner + side], axis=0)
    image = tf.image.crop_and_resize(image[tf.newaxis], window[tf.newaxis], [0], [height, width])[0]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = tf.reduce_all((centres > window[:2]) & (centres < window[2:]), axis=-1)
    boxes = tf.clip_by_value((boxes[inside] - tf.tile(corner, [2])) / side, 0.0, 1.0)
    if tf.random.uniform([]) < 0.5:
        image = tf.image.flip_left_right(image)
        boxes = tf.stack([boxes[:, 0], 1.0 - boxes[:, 3], boxes[:, 2], 1.0 - boxes[:, 1]], axis=-1)
    return image, boxes, labels[inside]
