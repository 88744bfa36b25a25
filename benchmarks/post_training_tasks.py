"""Four trained float networks with data and a metric: what post-training quantization is measured on.

    python benchmarks/post_training_tasks.py --cifar10 path/to/cifar10.zip --camvid path/to/camvid.zip

Trains, one after another, the networks that are not yet in ``--runs`` and prints the float metric of each task: ResNet-8 and
a MobileNet on CIFAR-10, a DS-CNN on generated spectrograms, a U-Net on CamVid.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import camvid
import cifar10
import numpy as np
import tensorflow as tf
import tf_keras as keras
from ds_cnn import build_ds_cnn
from fine_tuning import BATCH, trained, trained_float_model
from mobilenet import build_mobilenet
from spoken_words import generate_spoken_words
from u_net import build_u_net

from keras_compress.reports.formatting import format_table

CALIBRATION = 300


@dataclass(frozen=True)
class Task:
    """A trained network, training samples to calibrate it with, and the test set and metric that judge it.

    ``metric(predictions, targets)`` is in percent, and higher is better.
    """

    name: str
    model: keras.Model
    calibration: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray
    metric: Callable[[np.ndarray, np.ndarray], float]

    def measure(self, predict):
        """Return the metric of ``predict``, a function from a batch of inputs to predictions, on the test set."""
        batches = range(0, len(self.inputs), 100)
        predictions = [np.asarray(predict(self.inputs[start : start + 100])) for start in batches]
        return self.metric(np.concatenate(predictions), self.targets)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar10", type=Path, required=True, help="zip file or folder with train/ and test/ by class")
    parser.add_argument("--camvid", type=Path, required=True, help="zip file or folder with train/ and val/")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the trained float models")
    arguments = parser.parse_args()
    rows = [
        [task.name, task.model.count_params(), len(task.inputs), f"{task.measure(task.model.predict_on_batch):.2f}"]
        for task in tasks(arguments.cifar10, arguments.camvid, arguments.runs)
    ]
    print(format_table(["task", "parameters", "test samples", "float %"], rows))


def tasks(cifar10_path, camvid_path, runs_folder):
    """Return the four tasks; a network that is not yet in ``runs_folder`` is trained and kept there."""
    runs_folder = Path(runs_folder)
    photos = cifar10.load_cifar10(cifar10_path)
    return [
        _resnet8(photos, runs_folder / "resnet8_float.keras"),
        _ds_cnn(generate_spoken_words(), runs_folder / "ds_cnn_float.keras"),
        _mobilenet(photos, runs_folder / "mobilenet_float.keras"),
        _u_net(camvid.load_camvid(camvid_path), runs_folder / "u_net_float.keras"),
    ]


def accuracy(predictions, labels):
    """Return how often the most probable class is the label, in percent."""
    return 100 * float(np.mean(predictions.argmax(axis=-1) == labels))


def _resnet8(photos, cache):
    (train_images, train_labels), test = photos
    model = trained_float_model(cache, train_images, train_labels, epochs=56)
    return _task("resnet8", model, train_images, test, accuracy)


def _ds_cnn(spectrograms, cache):
    train, test = spectrograms

    def batches():
        return (
            tf.data.Dataset.from_tensor_slices(train).shuffle(len(train[0]), seed=0).batch(BATCH, drop_remainder=True)
        )

    model = trained(cache, build_ds_cnn, batches, epochs=25)
    return _task("ds_cnn", model, train[0], test, accuracy)


def _mobilenet(photos, cache):
    train, test = photos
    model = trained(cache, build_mobilenet, lambda: cifar10.training_pipeline(*train, BATCH), epochs=26)
    return _task("mobilenet", model, train[0], test, accuracy)


def _u_net(scenes, cache):
    train, test = scenes
    model = trained(
        cache,
        lambda: build_u_net(train[0].shape[1:], camvid.CLASSES, widths=(16, 32, 64, 128)),
        lambda: camvid.training_pipeline(*train, batch_size=8),
        epochs=50,
    )
    return _task("u_net", model, train[0], test, camvid.mean_intersection_over_union)


def _task(name, model, train_inputs, test, metric):
    chosen = np.random.default_rng(0).choice(len(train_inputs), CALIBRATION, replace=False)
    inputs, targets = test
    return Task(name, model, _scaled(train_inputs[chosen]), _scaled(inputs), targets, metric)


def _scaled(inputs):
    """Return images as the networks read them, in [0, 1]; spectrograms are floats already."""
    return inputs.astype(np.float32) / 255 if inputs.dtype == np.uint8 else inputs


if __name__ == "__main__":
    main()
