"""Does the exported frozen graph compute what the compressed Keras model computes, and does it run in integers?

    python benchmarks/export_parity.py ResNet50 MobileNetV2

Each model is trained on scikit-learn's handwritten digits, enlarged to colour images, for a few epochs: a network with
random weights amplifies the last bit of a rounding beyond any use. Then it is compressed, exported, and run on the test
digits by TensorFlow and by OpenVINO.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import openvino as ov
import tensorflow as tf
import tf_keras as keras
from sklearn.datasets import load_digits

import keras_compress as kc
from keras_compress.export.frozen_graph import run_frozen_graph
from keras_compress.export.openvino_audit import executed_layers
from keras_compress.reports.formatting import format_table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["MobileNetV2", "ResNet50"], help="names in tf_keras.applications")
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    parser.add_argument("--epochs", type=int, default=12)
    arguments = parser.parse_args()
    train, test = digits(arguments.size)
    rows = [compare(name, train, test, arguments.epochs) for name in arguments.models]
    header = [
        "model",
        "float acc",
        "INT8 acc",
        "OpenVINO acc",
        "TF max rel. diff.",
        "OpenVINO SQNR dB",
        "top-1 same",
        "INT8 layers",
    ]
    print(format_table(header, rows))


def digits(size):
    """Return (images, labels) for training and for testing; images are (samples, size, size, 3) in [-1, 1]."""
    images, labels = load_digits(return_X_y=True)
    images = tf.image.resize(images.reshape(-1, 8, 8, 1) / 8 - 1, (size, size), "bicubic")
    images = np.repeat(np.clip(images, -1, 1), 3, axis=-1).astype(np.float32)
    order = np.random.RandomState(0).permutation(len(images))
    images, labels = images[order], labels[order]
    return (images[:1297], labels[:1297]), (images[1297:], labels[1297:])


def compare(name, train, test, epochs):
    keras.utils.set_random_seed(0)
    images, labels = test
    model = getattr(keras.applications, name)(weights=None, input_shape=images.shape[1:], classes=10)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
    steps = len(train[0]) // 64 * epochs
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(*train, batch_size=64, epochs=epochs, verbose=2)
    config = {"compression": {"algorithm": "quantization"}}
    controller, compressed = kc.create_compressed_model(model, kc.register_default_init_args(config, train))
    with tempfile.TemporaryDirectory() as folder:
        path = controller.export_model(Path(folder) / "model.pb").path
        expected = compressed.predict(images, batch_size=100, verbose=0)
        eagerly = in_batches(lambda batch: compressed(batch, training=False).numpy(), images)
        in_tensorflow = in_batches(frozen_graph_of(path, compressed), images)
        difference = np.abs(in_tensorflow - eagerly).max() / np.abs(eagerly).max()
        core = ov.Core()
        compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    in_openvino = np.concatenate([compiled(images[start : start + 100])[0] for start in range(0, len(images), 100)])
    layers = executed_layers(compiled)
    return [
        name,
        *(round(float(value), 4) for value in (model.evaluate(images, labels, verbose=0)[1],)),
        round(float(np.mean(expected.argmax(-1) == labels)), 4),
        round(float(np.mean(in_openvino.argmax(-1) == labels)), 4),
        float(f"{difference:.2g}"),
        round(float(10 * np.log10(np.sum(expected**2) / np.sum((expected - in_openvino) ** 2))), 1),
        round(float(np.mean(expected.argmax(-1) == in_openvino.argmax(-1))), 4),
        f"{sum(layer.runs_in_integers for layer in layers)} of {len(layers)}",
    ]


def frozen_graph_of(path, model):
    """Return a function that runs a frozen graph on a batch with TensorFlow and returns its first output."""
    return lambda batch: run_frozen_graph(path, {model.input_names[0]: batch}, model.output_names)[0]


def in_batches(function, images, batch_size=100):
    starts = range(0, len(images), batch_size)
    return np.concatenate([function(tf.constant(images[start : start + batch_size])) for start in starts])


if __name__ == "__main__":
    main()
