"""Every format for many kinds of networks: is the file compressed, does it compute what Keras computes, how large is it?

    python benchmarks/exports.py [ResNet50 MobileNetV2 ...] [--size 32] [--json runs/exports.json]

The networks are trained on scikit-learn's handwritten digits: images enlarged to ``--size``, for the recurrent network and
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
from sklearn.datasets import load_digits

import keras_compress as kc
from keras_compress.report.table import format_table

layers = keras.layers
FILES = ("model.pb", "model", "model.keras", "model.h5", "model.onnx", "model.xml", "model.tflite")
HEADER = ["model", "format", "problems", "bytes over float", "dB", "top-1 same", "max. rel. diff.", "in integers"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS), help=f"of {list(MODELS)}")
    parser.add_argument("--size", type=int, default=32, help="side of the images in pixels")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--json", type=Path, default=Path("runs/exports.json"))
    arguments = parser.parse_args()
    rows = []
    for name in arguments.models:
        reports = export_everywhere(name, arguments.size, arguments.epochs)
        rows += [row(name, report) for report in reports]
        print(format_table(HEADER, rows), flush=True)
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        kept = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
        kept[name] = {report.save_format: report.to_dict() for report in reports}
        arguments.json.write_text(json.dumps(kept, indent=1))


def export_everywhere(name, size, epochs):
    """Return the reports of all formats for one network."""
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
    config = {"compression": {"algorithm": "quantization"}}
    controller, _ = kc.create_compressed_model(model, kc.register_default_init_args(config, inputs[500:]))
    with tempfile.TemporaryDirectory() as folder:
        return [controller.export_model(Path(folder) / file, data=inputs[:1000], strict=False) for file in FILES]


def row(name, report):
    computing = [weight for weight in report.weights if weight.runs_in_integers is not None]
    comparison = report.comparison
    return [
        name,
        report.save_format,
        len(report.problems),
        f"{report.size_ratio:.3f}",
        f"{comparison.sqnr:.1f}",
        "" if comparison.same_top1 is None else f"{comparison.same_top1:.2%}",
        f"{comparison.relative_error:.2g}",
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


def u_net(shape):
    def block(x, filters, name):
        for number in (1, 2):
            x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv{number}")(x)
            x = layers.ReLU(name=f"{name}_relu{number}")(layers.BatchNormalization(name=f"{name}_norm{number}")(x))
        return x

    image = keras.Input(shape, name="image")
    first = block(image, 16, "down1")
    second = block(layers.MaxPooling2D(name="pool1")(first), 32, "down2")
    bottom = block(layers.MaxPooling2D(name="pool2")(second), 64, "bottom")
    up = layers.Conv2DTranspose(32, 2, 2, name="up2")(bottom)
    up = block(layers.Concatenate(name="join2")([up, second]), 32, "up2_block")
    up = layers.Conv2DTranspose(16, 2, 2, name="up1")(up)
    up = block(layers.Concatenate(name="join1")([up, first]), 16, "up1_block")
    return keras.Model(image, layers.Conv2D(2, 1, activation="softmax", name="classes")(up))


def ds_cnn(shape):
    stack = [keras.Input(shape, name="spectrogram")]
    stack += [layers.Conv2D(64, (10, 4), 2, padding="same"), layers.BatchNormalization(), layers.ReLU()]
    for _ in range(4):
        stack += [layers.DepthwiseConv2D(3, padding="same"), layers.BatchNormalization(), layers.ReLU()]
        stack += [layers.Conv2D(64, 1), layers.BatchNormalization(), layers.ReLU()]
    return keras.Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(10, "softmax")])


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
    "U-Net": u_net,
    "DS-CNN": ds_cnn,
    "Bidirectional LSTM": bidirectional_lstm,
    "Transformer": transformer,
}

if __name__ == "__main__":
    main()
