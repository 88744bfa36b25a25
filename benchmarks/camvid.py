"""CamVid, street scenes with a class for every pixel, from a folder or zip, and the metric of its task.

The eleven classes are those of Badrinarayanan et al. 2015, arXiv:1511.00561; ``VOID`` marks pixels without a class, which
neither the loss nor the metric counts.
"""

import io
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

CLASSES = 11
VOID = 11


def load_camvid(path, height=96, width=128):
    """Read ``camvid/{train,val}/images/*.jpg`` and ``masks/*.png`` and resize them.

    Args:
        path: a ``.zip`` file or the folder that holds ``train`` and ``val``.
        height, width: size of the images; masks take the nearest pixel.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images as uint8 ``(samples, height, width, 3)``, masks of class numbers as
        uint8 ``(samples, height, width)``. The scenes in ``val`` are the test set.
    """
    path = Path(path)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
            return _split(names, archive.read, (width, height))
    names = sorted(str(file) for file in path.rglob("*.jpg"))
    return _split(names, lambda name: Path(name).read_bytes(), (width, height))


def _split(names, read, size):
    parts = {"train": ([], []), "val": ([], [])}
    for name in names:
        images, masks = parts[name.split("/")[-3]]
        image = Image.open(io.BytesIO(read(name))).convert("RGB")
        images.append(np.asarray(image.resize(size, Image.Resampling.BILINEAR)))
        mask = Image.open(io.BytesIO(read(name.replace("/images/", "/masks/").replace(".jpg", ".png"))))
        masks.append(np.asarray(mask.resize(size, Image.Resampling.NEAREST)))
    return tuple((np.stack(images), np.stack(masks)) for images, masks in parts.values())


def training_pipeline(images, masks, batch_size, seed=0):
    """Shuffled batches of images in [0, 1], their masks, and the weight of every pixel: 0 for void, else 1.

    An image is enlarged up to 1.4 times and cropped, flipped from left to right, and its brightness changed by up to a fifth.
    """
    height, width = masks.shape[1:]

    def augment(image, mask):
        both = tf.concat([image, mask[..., tf.newaxis]], axis=-1)
        both = tf.image.random_flip_left_right(both)
        scale = tf.random.uniform([], 1.0, 1.4)
        size = tf.cast(tf.round(scale * tf.constant([height, width], tf.float32)), tf.int32)
        both = tf.image.random_crop(tf.image.resize(both, size, "nearest"), [height, width, 4])
        image = tf.cast(both[..., :3], tf.float32) / 255.0 * tf.random.uniform([], 0.8, 1.2)
        counted = both[..., 3] != VOID
        mask = tf.where(counted, both[..., 3], 0)
        return tf.minimum(image, 1.0), mask, tf.cast(counted, tf.float32)

    dataset = tf.data.Dataset.from_tensor_slices((images, masks)).cache().shuffle(len(images), seed=seed)
    return dataset.map(augment, num_parallel_calls=2).batch(batch_size, drop_remainder=True).prefetch(2)


def mean_intersection_over_union(predictions, masks):
    """Return the mean over classes of intersection over union in percent, counted over the pixels of all images.

    ``predictions`` holds a probability of every class in its last axis. A class that appears in neither is left out.
    """
    counted = masks != VOID
    predicted = predictions.argmax(axis=-1)[counted]
    pairs = np.bincount(CLASSES * masks[counted].astype(np.int64) + predicted, minlength=CLASSES**2)
    confusion = pairs.reshape(CLASSES, CLASSES)
    intersection = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - intersection
    return 100 * float(np.mean(intersection[union > 0] / union[union > 0]))
