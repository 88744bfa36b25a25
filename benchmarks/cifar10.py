"""CIFAR-10 from a folder or zip of images by class, and the input pipeline the accuracy benchmarks share."""

import io
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from tqdm import tqdm

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def load_cifar10(path):
    """Read ``cifar10/{train,test}/<class>/*.jpg`` from a zip file or a folder.

    Args:
        path: a ``.zip`` file or the folder that holds ``train`` and ``test``. The decoded images are kept beside
            neither: nothing is written.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images as uint8 ``(samples, 32, 32, 3)``, labels as int64.
    """
    path = Path(path)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith((".jpg", ".png")))
            return _split(names, archive.read)
    names = sorted(str(file) for file in path.rglob("*") if file.suffix in (".jpg", ".png"))
    return _split(names, lambda name: Path(name).read_bytes())


def _split(names, read):
    parts = {"train": ([], []), "test": ([], [])}
    for name in tqdm(names, desc="reading images", unit="img", mininterval=1):
        split, label = name.split("/")[-3:-1]
        images, labels = parts[split]
        images.append(np.asarray(Image.open(io.BytesIO(read(name))).convert("RGB")))
        labels.append(CLASSES.index(label))
    return tuple((np.stack(images), np.array(labels)) for images, labels in parts.values())


def training_pipeline(images, labels, batch_size, seed=0):
    """Shuffled batches with random crops (4 pixels of padding) and horizontal flips, scaled to [0, 1]."""

    def augment(image, label):
        image = tf.pad(image, [[4, 4], [4, 4], [0, 0]])
        image = tf.image.random_crop(image, [32, 32, 3])
        image = tf.image.random_flip_left_right(image)
        return tf.cast(image, tf.float32) / 255.0, label

    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images), seed=seed)
    return dataset.map(augment, num_parallel_calls=2).batch(batch_size, drop_remainder=True).prefetch(2)
