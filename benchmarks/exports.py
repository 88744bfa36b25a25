"""Every format for many kinds of networks: is the file compressed, does it compute what Keras computes, how large is it?

    python benchmarks/exports.py [ResNet50 MobileNetV2 ...] [--size 32] [--cifar10 path/to/cifar10.zip]

ResNet-8 is trained on CIFAR-10, if its images are given, and compared on 1,000 of its test images. The other networks
are trained on scikit-learn's handwritten digits: images enlarged to ``--size``, for the recurrent network and
the transformer the rows of an image as a sequence, for U-Net the pixels that belong to the digit. Then they are compressed to
INT8, exported to every format, audited and compared with Keras on 1,000 digits.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras
from cifar10 import load_cifar10
from ds_cnn import build_ds_cnn
from fine_tuning import trained_float_model
from sklearn.datasets import load_digits
from u_net import build_u_net

import keras_compress as kc
from keras_compress.reports.formatting import format_table

layers = keras.layers
FILES = ("model.pb", "model", "model.keras", "model.h5", "model.onnx", "model.xml", "model.tflite")
HEADER = ["model", "format", "problems", "bytes over float", "dB", "top-1 same", "max. rel. diff.", "in integers"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help=f"of {['ResNet-8', *MODELS]}")
    parser.add_argument("--cifar10", type=Path, help="zip file or folder with train/ and test/ by class")
    parser.add_argument("--size", type=int, default=32, help="side of the images in pixels")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--json", type=Path, default=Path("runs/exports.json"))
    arguments = parser.parse_args()
    rows = []
    for name in arguments.models or ([*(["ResNet-8"] if arguments.cifar10 else []), *MODELS]):
        if name == "ResNet-8":
            trained = trained_on_photos(arguments.cifar10, arguments.json.parent)
        else:
            trained = trained_on_digits(name, arguments.size, arguments.epochs)
        reports = export_everywhere(*trained)
        rows += [row(name, report) for report in reports]
        print(format_table(HEADER, rows), flush=True)
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        kept = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
        kept[name] = {report.save_format: report.to_dict() for report in reports}
        arguments.json.write_text(json.dumps(kept, indent=1))


def export_everywhere(model, calibration, samples):
    """Return the reports of all formats for one network."""
    config = kc.register_default_init_args({"compression": {"algorithm": "quantization"}}, calibration)
    controller, _ = kc.create_compressed_model(model, config)
    with tempfile.TemporaryDirectory() as folder:
        options = {"data": samples, "strict": False}
        return [
            controller.export_model(
                Path(folder) / file,
                **options,
                **({"calibration_data": calibration} if file.endswith((".onnx", ".tflite")) else {}),
            )
            for file in FILES
        ]


def trained_on_photos(path, runs):
    """Return ResNet-8, training images and 1,000 test images."""
    (train_images, train_labels), (images, _) = load_cifar10(path)
    model = trained_float_model(runs / "resnet8_float.keras", train_images, train_labels, epochs=56)
    return model, train_images[::25].astype(np.float32) / 255, images[::10].astype(np.float32) / 255


def trained_on_digits(name, size, epochs):
    """Return a network, training samples and 1,000 samples."""
    keras.utils.set_random_seed(0)
    inputs, targets = digits(name, size)
    model = MODELS[name](inputs.shape[1:])
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9
    train = len(inputs) - 500
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, train // 64 * epochs)
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(inputs[500:], targets[500:], batch_size=64, epochs=epochs, verbose=0)
    print(f"{name}: accuracy {model.evaluate(inputs[:500], targets[:500], verbose=0)[1]:.3f}", flush=True)
    return model, inputs[500:], inputs[:1000]


def row(name, report):
    computing = [weight for weight in report.weights if weight.runs_in_integers is not None]
    comparison = report.comparison
    results = ["", "", ""]  # of a file that its runtime cannot run
    if comparison is not None:
        same = "" if comparison.same_top1 is None else f"{comparison.same_top1:.2%}"
        results = [f"{comparison.sqnr:.1f}", same, f"{comparison.relative_error:.2g}"]
    return [
        name,
        report.save_format,
        len(report.faults),
        f"{report.size_ratio:.3f}",
        *results,
        f"{sum(weight.runs_in_integers for weight in computing)} of {len(report.weights)}" if computing else "",
    ]


def digits(name, size):
    """Return inputs and targets of all digits in a fixed order, in the form a network reads."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(images))
    images, labels = images[order].reshape(-1, 8, 8, 1).astype(np.float32) / 8 - 1, labels[order]
    if name in ("Bidirectional LSTM", "Transformer"):
        return images[..., 0], labels
    enlarged = np.clip(tf.image.resize(images, (size, size), "bicubic"), -1, 1)
    if name == "U-Net":
        return np.repeat(enlarged, 3, axis=-1), (enlarged[..., 0] > 0).astype(np.int64)
    return (enlarged if name == "DS-CNN" else np.repeat(enlarged, 3, axis=-1)), labels


def application(name):
    return lambda shape: getattr(keras.applications, name)(weights=None, input_shape=shape, classes=10)


def bidirectional_lstm(shape):
    rows = keras.Input(shape, name="rows")
    x = layers.Bidirectional(layers.LSTM(48, return_sequences=True), name="first")(rows)
    x = layers.Bidirectional(layers.LSTM(48), name="second")(x)
    return keras.Model(rows, layers.Dense(10, "softmax", name="classes")(x))


def transformer(shape):
    rows = keras.Input(shape, name="rows")
    x = layers.Dense(32, name="embed")(rows)
    for number in range(2):
        attended = layers.MultiHeadAttention(4, 8, name=f"attention{number}")(x, x)
        x = layers.LayerNormalization(name=f"norm{number}a")(layers.Add(name=f"add{number}a")([x, attended]))
        wide = layers.Dense(128, "gelu", name=f"expand{number}")(x)
        narrow = layers.Dense(32, name=f"project{number}")(wide)
        x = layers.LayerNormalization(name=f"norm{number}b")(layers.Add(name=f"add{number}b")([x, narrow]))
    return keras.Model(rows, layers.Dense(10, "softmax", name="classes")(layers.GlobalAveragePooling1D()(x)))


MODELS = {
    **{name: application(name) for name in ("ResNet50", "MobileNetV2", "EfficientNetB0", "DenseNet121")},
    "U-Net": build_u_net,
    "DS-CNN": lambda shape: build_ds_cnn(shape, classes=10),
    "Bidirectional LSTM": bidirectional_lstm,
    "Transformer": transformer,
}

if __name__ == "__main__":
    main()
