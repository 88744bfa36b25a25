"""Images with a mask that gives the class of every pixel, as batches; and drawn shapes as such pairs, for a first try."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from examples.drawn_shapes import draw_scene

ZOOM = 1.4


def read_pairs(folder, size):
    """Return the images, ``(pairs, height, width, 3)``, and masks, ``(pairs, height, width)``, of a folder as uint8.

    Args:
        folder: holds ``images/*.jpg`` (or ``.png``) and ``masks/*.png`` of the same names.
        size: height and width to resize to; a mask takes the nearest pixel.
    """
    files = sorted(file for file in (Path(folder) / "images").glob("*") if file.suffix in (".jpg", ".jpeg", ".png"))
    if not files:
        raise SystemExit(f"There are no images in '{folder}/images'. Expected: images, and 'masks' beside that folder.")
    shape = (size[1], size[0])
    images = [Image.open(file).convert("RGB").resize(shape, Image.Resampling.BILINEAR) for file in files]
    masks = [Image.open(Path(folder) / "masks" / f"{file.stem}.png") for file in files]
    return np.stack(images), np.stack([mask.resize(shape, Image.Resampling.NEAREST) for mask in masks])


def count_classes(masks, void):
    """Return how many classes there are: the highest number in the masks, ``void`` aside, and 0."""
    return int(masks[masks != void].max()) + 1


def training_batches(images, masks, batch_size, seed):
    """Return shuffled batches ``(images in [0, 1], masks)``.

    A pair is enlarged up to 1.4 times and cropped, flipped from left to right, and its brightness changed by up to a fifth.
    """
    height, width = masks.shape[1:]

    def augmented(image, mask):
        pair = tf.image.random_flip_left_right(tf.concat([image, mask[..., tf.newaxis]], axis=-1))
        enlarged = tf.random.uniform([], 1.0, ZOOM) * [float(height), float(width)]
        pair = tf.image.resize(pair, tf.cast(tf.round(enlarged), tf.int32), "nearest")
        pair = tf.image.random_crop(pair, [height, width, 4])
        image = tf.cast(pair[..., :3], tf.float32) / 255.0 * tf.random.uniform([], 0.8, 1.2)
        return tf.minimum(image, 1.0), pair[..., 3]

    pairs = tf.data.Dataset.from_tensor_slices((images, masks)).shuffle(len(images), seed=seed)
    pairs = pairs.map(augmented, num_parallel_calls=tf.data.AUTOTUNE)
    return pairs.batch(batch_size, drop_remainder=len(images) >= batch_size).prefetch(tf.data.AUTOTUNE)


def draw_pairs(folder, size, training=200, test=50):
    """Draw pairs into ``train`` and ``val`` of a folder, the same at every call, and return it."""
    folder, random = Path(folder), np.random.default_rng(0)
    for part, count in (("train", training), ("val", test)):
        for name in ("images", "masks"):
            (folder / part / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            scene = draw_scene(random, *size)
            scene.image.save(folder / part / "images" / f"{number:04}.jpg", quality=95)
            scene.mask.save(folder / part / "masks" / f"{number:04}.png")
    return folder
