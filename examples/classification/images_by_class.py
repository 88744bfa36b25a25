"""Images in a folder per class, as batches; and scikit-learn's digits as such folders, for a first try."""

from pathlib import Path

import tensorflow as tf
import tf_keras as keras
from PIL import Image
from sklearn.datasets import load_digits

SPLITS = (("train",), ("test", "val"))  # names of the folders
MEMORY = 4e9  # bytes of decoded training images that are kept, so that each file is read once


def read_images(folder, size, seed):
    """Return ``(classes, training images, test images)``, datasets of one ``(uint8 image, label)`` after the other.

    Args:
        folder: holds ``train/<class>/*.jpg`` and ``test`` or ``val`` in the same form (also ``.png``, ``.gif``, ``.bmp``).
        size: height and width to resize to.
        seed: of the order of the training images.
    """
    folder = Path(folder)
    parts = [next((folder / name for name in names if (folder / name).is_dir()), None) for names in SPLITS]
    if None in parts:
        raise SystemExit(f"'{folder}' is no dataset. Expected: the folders 'train' and 'test' (or 'val') in it.")
    options = {"image_size": size, "batch_size": None, "seed": seed}
    training = keras.utils.image_dataset_from_directory(parts[0], **options)
    test = keras.utils.image_dataset_from_directory(
        parts[1], class_names=training.class_names, shuffle=False, **options
    )
    return training.class_names, _as_bytes(training), _as_bytes(test)


def _as_bytes(images):
    return images.map(lambda image, label: (tf.cast(tf.round(image), tf.uint8), label), tf.data.AUTOTUNE)


def training_batches(images, size, preprocess, batch_size, seed, *, flip):
    """Return shuffled batches, randomly cropped after padding by an eighth, and flipped if ``flip`` is true.

    Args:
        images: training images from :func:`read_images`.
        size: height and width.
        preprocess: from pixels of 0 to 255 to what the model reads.
        batch_size, seed, flip: as they say.
    """
    count = int(images.cardinality())
    margin = [length // 8 for length in size]

    def augmented(image, label):
        padded = tf.pad(image, [[margin[0]] * 2, [margin[1]] * 2, [0, 0]])
        image = tf.image.random_crop(padded, tf.shape(image))
        image = tf.image.random_flip_left_right(image) if flip else image
        return preprocess(tf.cast(image, tf.float32)), label

    if count * size[0] * size[1] * 3 <= MEMORY:
        images = images.cache()
    images = images.shuffle(min(count, 10_000), seed=seed).map(augmented, tf.data.AUTOTUNE)
    return images.batch(batch_size, drop_remainder=count >= batch_size).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(images, preprocess, batch_size):
    """Return batches of test images, as they are."""
    images = images.map(lambda image, label: (preprocess(tf.cast(image, tf.float32)), label), tf.data.AUTOTUNE)
    return images.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def write_digits(folder, training=1297, test=500):
    """Write scikit-learn's handwritten digits as images by class into a folder, and return it."""
    folder = Path(folder)
    pixels, labels = load_digits(return_X_y=True)
    for number, (image, label) in enumerate(zip(pixels[: training + test], labels, strict=False)):
        file = folder / ("train" if number < training else "test") / str(label) / f"{number:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image.reshape(8, 8) * 255 / 16).astype("uint8")).save(file)
    return folder
