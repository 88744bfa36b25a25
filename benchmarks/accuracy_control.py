"""Accuracy control beside NNCF: three layers of a trained ResNet-8 are spoilt for quantization, and have to be found.

    python benchmarks/accuracy_control.py --cifar10 path/to/cifar10.zip

One channel between two convolutions is made a thousand times larger and smaller again: the float network computes what it did,
and a quantized one cannot. Both tools control the accuracy in OpenVINO on the same 2,000 test images; calls of the validation
function are counted.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cifar10
import nncf
import numpy as np
import openvino
import tensorflow as tf
from fine_tuning import trained_float_model

import keras_compress as kc

SPOILT = ("stage1", "stage2", "stage3")
FACTOR = 1000.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar10", type=Path, required=True, help="zip file or folder with train/ and test/ by class")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the trained float model")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--max-drop", type=float, default=0.01)
    arguments = parser.parse_args()
    (train_images, train_labels), (images, labels) = cifar10.load_cifar10(arguments.cifar10)
    model = trained_float_model(arguments.runs / "resnet8_float.keras", train_images, train_labels, epochs=56)
    spoil(model)
    chosen = np.random.default_rng(0).choice(len(images), arguments.samples, replace=False)
    images, labels = images[chosen].astype(np.float32) / 255, labels[chosen]
    calibration = train_images[:: len(train_images) // 300][:300].astype(np.float32) / 255
    calls = []

    def validate(compiled, data):
        calls.append(time.perf_counter())
        correct = [np.argmax(compiled(batch)[0], axis=-1) == targets for batch, targets in data]
        return float(np.mean(np.concatenate(correct)))

    batches = [(images[at : at + 100], labels[at : at + 100]) for at in range(0, len(images), 100)]
    for max_drop in (arguments.max_drop, 0.0):
        start = time.perf_counter()
        calls.clear()
        quantized = kc.quantize_with_accuracy_control(
            model,
            calibration,
            batches,
            validate,
            max_drop=max_drop,
            validate_with="openvino",
            on_failure="return_best",
        )
        print(f"\nkeras_compress, max_drop {max_drop}: {len(calls)} calls, {time.perf_counter() - start:.0f} s")
        print(quantized.accuracy_report, flush=True)
    calls.clear()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(model, folder)
        converted = openvino.convert_model(folder)
    nncf.quantize_with_accuracy_control(
        converted,
        nncf.Dataset([sample[None] for sample in calibration]),
        nncf.Dataset(batches, lambda batch: batch[0]),
        validate,
        max_drop=arguments.max_drop,
    )
    print(f"\nNNCF, max_drop {arguments.max_drop}: {len(calls)} calls, {time.perf_counter() - start:.0f} s")


def spoil(model):
    """Make a channel between the two convolutions of every stage too large for one range, without changing the function."""
    for stage in SPOILT:
        normalization, convolution = model.get_layer(f"{stage}_a_bn"), model.get_layer(f"{stage}_b_conv")
        channel = int(np.argmax(np.abs(normalization.gamma.numpy())))
        for variable in (normalization.gamma, normalization.beta):
            values = variable.numpy()
            values[channel] *= FACTOR
            variable.assign(values)
        kernel = convolution.kernel.numpy()
        kernel[:, :, channel] /= FACTOR
        convolution.kernel.assign(kernel)


if __name__ == "__main__":
    main()
