"""The main job from start to end on real handwritten digits: train, compress to INT8, resume, export, run.

    python examples/demo.py

It runs in two processes, as a long training would: the first trains a float network, compresses it, fine-tunes it and
saves a checkpoint; the second restores the checkpoint, checks that not a bit of the predictions changed, fine-tunes on,
exports a frozen graph and runs it in OpenVINO.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import openvino as ov
import tensorflow as tf
import tf_keras as keras
from sklearn.datasets import load_digits

import keras_compress as kc
from keras_compress.export.openvino_audit import executed_layers
from keras_compress.reports.formatting import format_table

CONFIG = {"compression": {"algorithm": "quantization"}}  # INT8 with default settings


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where files are written; a temporary folder by default")
    parser.add_argument("--resume", action="store_true", help="only the second half, from the files in --folder")
    arguments = parser.parse_args()
    if arguments.resume:
        restore_and_export(arguments.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        train_and_compress(folder)
        command = [sys.executable, __file__, "--resume", "--folder", str(folder)]
        subprocess.run(command, check=True)


def train_and_compress(folder):
    """First process: a float model, its INT8 copy, two epochs of fine-tuning, a checkpoint."""
    (images, labels), test = digits()
    print("1. Training a float network on 1,297 handwritten digits", flush=True)
    keras.utils.set_random_seed(0)
    model = build_network()
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(images, labels, batch_size=64, epochs=8, verbose=2)
    model.save(folder / "float.keras")

    print("2. Compressing to INT8 and fine-tuning", flush=True)
    config = kc.register_default_init_args(CONFIG, images)
    controller, compressed = kc.create_compressed_model(model, config)
    print(controller.statistics(), flush=True)
    compressed.optimizer.learning_rate = 2e-4
    checkpoint = tf.train.Checkpoint(model=compressed, compression_state=kc.TFCompressionState(controller))
    callbacks = kc.create_compression_callbacks(controller, log_dir=folder / "logs")
    callbacks.append(kc.CheckpointManagerCallback(checkpoint, folder / "checkpoints", max_to_keep=2))
    compressed.fit(images, labels, batch_size=64, epochs=2, callbacks=callbacks, verbose=2)
    np.save(folder / "predictions.npy", compressed.predict(test[0], verbose=0))


def restore_and_export(folder):
    """Second process: the same model back from the checkpoint, one more epoch, a frozen graph in OpenVINO."""
    (images, labels), test = digits()
    print("3. Restoring the checkpoint in a new process", flush=True)
    model = keras.models.load_model(folder / "float.keras")
    path = tf.train.latest_checkpoint(folder / "checkpoints")
    loader = kc.TFCompressionStateLoader()
    tf.train.Checkpoint(compression_state=loader).restore(path).expect_partial()
    controller, compressed = kc.create_compressed_model(model, CONFIG, loader.state)
    checkpoint = tf.train.Checkpoint(model=compressed, compression_state=kc.TFCompressionState(controller))
    checkpoint.restore(path)
    same = np.array_equal(compressed.predict(test[0], verbose=0), np.load(folder / "predictions.npy"))
    print(
        f"   predictions are {'bit for bit the same' if same else 'DIFFERENT'}; epoch {controller.scheduler.current_epoch}"
    )
    if not same:
        sys.exit("The restored model differs from the saved one.")
    callbacks = kc.create_compression_callbacks(controller)
    compressed.optimizer.learning_rate = 2e-4
    compressed.fit(images, labels, batch_size=64, epochs=1, callbacks=callbacks, verbose=2)

    print("4. Exporting a frozen graph, reading it back, and running it in OpenVINO", flush=True)
    int8_path = controller.export_model(folder / "int8.pb", batch_size=1).path
    models = {"float": ov.convert_model(model, input=[1, *model.input_shape[1:]]), "INT8": ov.convert_model(int8_path)}
    print(comparison(models, test, folder))


def comparison(models, test, folder):
    """Return a table of accuracy, size, latency and executed precision of OpenVINO models."""
    images, labels = test
    compiled, sizes, accuracies = {}, {}, {}
    for name, model in models.items():
        file = folder / f"{name}.xml"
        ov.save_model(model, file, compress_to_fp16=False)
        sizes[name] = file.with_suffix(".bin").stat().st_size
        compiled[name] = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        predicted = [compiled[name](image[np.newaxis])[0].argmax() for image in images]
        accuracies[name] = np.mean(np.array(predicted) == labels)
    seconds = {name: [] for name in compiled}
    for image in images[:300]:
        for name, request in compiled.items():  # in turn, so that both see the same machine
            start = time.perf_counter()
            request(image[np.newaxis])
            seconds[name].append(time.perf_counter() - start)
    rows = []
    for name, request in compiled.items():
        layers = executed_layers(request)
        integer = sum(layer.runs_in_integers for layer in layers)
        latency = np.median(seconds[name]) * 1e3
        rows.append(
            [name, f"{accuracies[name]:.2%}", f"{sizes[name]:,}", f"{latency:.3f}", f"{integer} of {len(layers)}"]
        )
    header = ["model", "test accuracy", "bytes of weights", "latency ms", "layers in INT8"]
    return format_table(header, rows)


def build_network():
    """Return an untrained convolutional network with batch normalization."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((32, 32, 1), name="image")], name="digits")
    for filters, stride in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        model.add(layers.Conv2D(filters, 3, stride, padding="same", use_bias=False))
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(10, activation="softmax"))
    return model


def digits():
    """Return (images, labels) to train and to test on: 1,297 and 500 digits of 32x32 pixels in [0, 1]."""
    images, labels = load_digits(return_X_y=True)
    images = tf.image.resize(images.reshape(-1, 8, 8, 1) / 16, (32, 32)).numpy().astype(np.float32)
    order = np.random.RandomState(0).permutation(len(images))
    images, labels = images[order], labels[order]
    return (images[:1297], labels[:1297]), (images[1297:], labels[1297:])


if __name__ == "__main__":
    main()
