"""The picture of docs/report.md: a digits network in INT8 with 60 % zeros, its report, and that report in a headless browser.

    python benchmarks/report_picture.py [--report report.html] [--picture docs/report.png]

Training takes a minute on two cores. The picture shows two screens of the report in a wide window, and beside them
the first on a phone at night.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras
from headless_browser import visit
from PIL import Image
from sklearn.datasets import load_digits

import keras_compress as kc

CONFIG = {
    "compression": [
        {
            "algorithm": "magnitude_sparsity",
            "params": {"schedule": "polynomial", "power": 3, "sparsity_target": 0.6, "sparsity_target_epoch": 4},
        },
        {"algorithm": "quantization"},
    ]
}
WIDE, PHONE, HEIGHT = 1000, 375, 1455


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, default=Path("report.html"), help="the report itself")
    parser.add_argument("--picture", type=Path, default=Path("docs/report.png"))
    arguments = parser.parse_args()
    print(write_report(arguments.report))
    photograph(arguments.report, arguments.picture)
    print(f"{arguments.picture}: {arguments.picture.stat().st_size:,} bytes")


def write_report(path):
    """Train a network and a compressed copy of it, measure everything, and write the report."""
    (images, labels), (test_images, test_labels) = digits()
    keras.utils.set_random_seed(0)
    model = build_network()
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(images, labels, batch_size=64, epochs=8, verbose=2)
    controller, compressed = kc.create_compressed_model(model, kc.register_default_init_args(CONFIG, images))
    compressed.optimizer.learning_rate = 5e-4
    history = compressed.fit(
        images,
        labels,
        batch_size=64,
        epochs=8,
        callbacks=kc.create_compression_callbacks(controller),
        validation_data=(test_images, test_labels),
        verbose=2,
    )
    accuracy = {
        name: some.evaluate(test_images, test_labels, verbose=0)[1]
        for name, some in {"float": model, "compressed": compressed}.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        exports = [
            controller.export_model(Path(folder) / name, data=test_images) for name in ("digits.xml", "digits.onnx")
        ]
        return controller.report(
            path,
            data=test_images,
            exports=exports,
            history=history,
            sensitivity=kc.analyze(compressed, test_images),
            latency=kc.benchmark(exports, test_images[:1], float_model=model, rounds=300, threads=1),
            accuracy=accuracy,
        )


def photograph(report, picture):
    """Put the report in a wide window and on a phone into one picture."""
    with tempfile.TemporaryDirectory() as folder:
        wide, phone = Path(folder) / "wide.png", Path(folder) / "phone.png"
        visit(report, width=WIDE, height=2 * HEIGHT, screenshot=wide)
        visit(report, width=PHONE, height=HEIGHT, dark=True, screenshot=phone)
        together = Image.new("RGB", (2 * WIDE + PHONE, HEIGHT))
        together.paste(Image.open(wide), (0, 0))
        together.paste(Image.open(wide).crop((0, HEIGHT, WIDE, 2 * HEIGHT)), (WIDE, 0))
        together.paste(Image.open(phone), (2 * WIDE, 0))
    together.quantize(128).save(picture, optimize=True)


def build_network():
    """Return an untrained convolutional network with batch normalization."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((16, 16, 1), name="image")], name="digits")
    for number, (filters, stride) in enumerate(((32, 1), (64, 2), (64, 1), (128, 2)), 1):
        model.add(layers.Conv2D(filters, 3, stride, padding="same", use_bias=False, name=f"conv{number}"))
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(10, activation="softmax", name="classes"))
    return model


def digits():
    """Return (images, labels) to train and to test on: 1,297 and 500 digits of 16x16 pixels in [0, 1]."""
    images, labels = load_digits(return_X_y=True)
    images = tf.image.resize(images.reshape(-1, 8, 8, 1) / 16, (16, 16)).numpy().astype(np.float32)
    order = np.random.RandomState(0).permutation(len(images))
    images, labels = images[order], labels[order]
    return (images[:1297], labels[:1297]), (images[1297:], labels[1297:])


if __name__ == "__main__":
    main()
