"""Every model of tf_keras.applications: compressed, trained one step, reloaded, exported, compared, run in OpenVINO.

    python benchmarks/zoo.py [MODEL ...]

Weights are random and images small, so that the whole zoo fits into memory and an hour. A row is printed as soon as it is
known; the exit code is the number of failures.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import openvino as ov
import tf_keras as keras

import keras_compress as kc
from keras_compress.calibration import adapt_batch_norm
from keras_compress.export.frozen_graph import export_frozen_graph, run_frozen_graph
from keras_compress.export.openvino_audit import executed_layers
from keras_compress.reports.formatting import format_table

#: The smallest member of each family.
FAMILIES = (
    "VGG16",
    "ResNet50",
    "ResNet50V2",
    "ResNetRS50",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "InceptionV3",
    "InceptionResNetV2",
    "Xception",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "RegNetX002",
    "RegNetY002",
    "NASNetMobile",
    "ConvNeXtTiny",
)

CONFIG = {
    "compression": {
        "algorithm": "quantization",
        "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}},
    }
}


@dataclass(frozen=True)
class ZooRow:
    """What came out of one model.

    Attributes:
        model: its name in tf_keras.applications.
        compressed: share of the weights that are compressed.
        reloaded: whether predictions are bit-equal after a round trip through the compression state and a weights file.
        difference: largest difference between the frozen graph in TensorFlow and Keras, over the largest output.
        sqnr: signal to error of OpenVINO against Keras in dB.
        integer: share of the multiply-accumulates that OpenVINO computes in integers.
        seconds: for everything.
    """

    model: str
    compressed: float
    reloaded: bool
    difference: float
    sqnr: float
    integer: float
    seconds: float


def all_models():
    """Return the names of all model functions of tf_keras.applications."""
    return sorted(name for name, thing in vars(keras.applications).items() if name[0].isupper() and callable(thing))


def try_model(name):
    """Put one model through everything and return its row.

    TensorFlow keeps the memory that training took, and the largest models barely fit: the file is run in a new process.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        compressed, reloaded = in_new_process(compress_and_export, name, Path(folder))
        difference, sqnr, integer = in_new_process(run_file, Path(folder))
    return ZooRow(name, compressed, reloaded, difference, sqnr, integer, round(time.perf_counter() - start, 1))


def in_new_process(function, *arguments):
    """Return the result of a function of this module; the memory it took is gone."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def compress_and_export(name, folder):
    """Leave ``model.pb`` and ``tensors.npz`` in the folder; return the share of compressed weights, and whether they reload."""
    keras.utils.set_random_seed(0)
    size = 96 if name.startswith(("Inception", "Xception")) else 64
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10)
    images = np.random.RandomState(0).uniform(0, 255, (4, size, size, 3)).astype(np.float32)
    labels = np.zeros(4, np.int64)
    adapt_batch_norm(model, kc.Dataset(images), len(images))  # or random weights would let the signal die away

    controller, compressed = kc.create_compressed_model(model, kc.register_default_init_args(CONFIG, images))
    # Eagerly: tracing a training step of a large network takes longer than the step itself.
    compressed.compile(keras.optimizers.SGD(1e-4), "sparse_categorical_crossentropy", run_eagerly=True)
    loss = compressed.train_on_batch(images, labels)
    if not np.isfinite(loss):
        raise ArithmeticError(f"the loss after one step is {loss}")
    expected = compressed(images, training=False).numpy()
    compressed.save_weights(folder / "model.weights.h5")
    _, restored = kc.create_compressed_model(model, CONFIG, controller.get_compression_state())
    restored.load_weights(folder / "model.weights.h5")
    reloaded = np.array_equal(restored(images, training=False).numpy(), expected)
    del restored, model
    export_frozen_graph(compressed, folder / "model.pb")
    names = compressed.input_names[0], compressed.output_names[0]
    np.savez(folder / "tensors.npz", images=images, expected=expected, names=names)
    return round(controller.statistics().compressed_share, 4), reloaded


def run_file(folder):
    """Return the difference in TensorFlow, the signal to error and the share of integer work in OpenVINO."""
    tensors = np.load(folder / "tensors.npz")
    images, expected, (input_name, output_name) = tensors["images"], tensors["expected"], tensors["names"].tolist()
    in_tensorflow = run_frozen_graph(folder / "model.pb", {input_name: images}, [output_name])[0]
    core = ov.Core()
    compiled = core.compile_model(core.read_model(folder / "model.pb"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    in_openvino = compiled(images)[0]
    layers = executed_layers(compiled)
    work = sum(layer.multiply_accumulates for layer in layers)
    integer = sum(layer.multiply_accumulates for layer in layers if layer.runs_in_integers)
    error = np.sum((expected - in_openvino) ** 2)
    return (
        float(f"{np.abs(in_tensorflow - expected).max() / np.abs(expected).max():.2g}"),
        round(float(10 * np.log10(np.sum(expected**2) / max(error, 1e-30))), 1),
        round(integer / work, 4),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "models", nargs="*", default=all_models(), help="names in tf_keras.applications; all by default"
    )
    rows, failures = [], 0
    for name in parser.parse_args().models:
        try:
            rows.append(try_model(name))
            print(rows[-1], flush=True)
        except Exception:  # the other models are still worth a row
            failures += 1
            print(f"{name} FAILED\n{traceback.format_exc(limit=-3)}", flush=True)
    print(format_table(list(ZooRow.__dataclass_fields__), [astuple(row) for row in rows]))
    print(f"{len(rows)} passed, {failures} failed")
    sys.exit(failures)


if __name__ == "__main__":
    main()
