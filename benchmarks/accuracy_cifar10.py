"""Accuracy of quantization-aware training on CIFAR-10: ResNet-8, three epochs of fine-tuning, beside float.

    python benchmarks/accuracy_cifar10.py --data path/to/cifar10.zip

A float ResNet-8 is trained first (``--float-epochs``; kept in ``--cache``). From its weights every variant, float
included, is fine-tuned in the same way: Adam 1e-3 with cosine decay, batches of 128. A table shows the accuracy on the
10,000 test images before and after fine-tuning. The last variant is exported and compared with OpenVINO.
"""

import argparse
from pathlib import Path

import numpy as np
import openvino as ov
import tf_keras as keras
from cifar10 import load_cifar10, training_pipeline
from export_parity import frozen_graph_of, in_batches
from fine_tuning import BATCH, compile_for, trained_float_model, variant

import keras_compress as kc
from keras_compress.export.openvino_audit import executed_layers
from keras_compress.reports.formatting import format_table

FOUR_BITS = {"bits": 4, "mode": "asymmetric"}
VARIANTS = {
    "float": None,
    "W8A8": {"algorithm": "quantization"},
    "W8A8 mixed": {"algorithm": "quantization", "preset": "mixed"},
    "W4A8": {"algorithm": "quantization", "weights": {"bits": 4}},
    "W4A4": {"algorithm": "quantization", "weights": {"bits": 4}, "activations": {"bits": 4}},
    "W4A4 asymmetric": {"algorithm": "quantization", "weights": FOUR_BITS, "activations": FOUR_BITS},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="zip file or folder with train/ and test/ by class")
    parser.add_argument("--cache", type=Path, default=Path("runs/resnet8_float.keras"), help="trained float model")
    parser.add_argument("--float-epochs", type=int, default=56)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    arguments = parser.parse_args()
    (train_images, train_labels), (images, labels) = load_cifar10(arguments.data)
    images = images.astype(np.float32) / 255
    model = trained_float_model(arguments.cache, train_images, train_labels, arguments.float_epochs)
    rows = []
    for name in arguments.variants:
        keras.utils.set_random_seed(0)
        data = training_pipeline(train_images, train_labels, BATCH)
        tuned, controller = variant(model, VARIANTS[name], data)
        compile_for(tuned, arguments.epochs * (len(train_images) // BATCH))
        before = tuned.evaluate(images, labels, batch_size=500, verbose=0)[1]
        callbacks = kc.create_compression_callbacks(controller) if controller else []
        tuned.fit(data, epochs=arguments.epochs, callbacks=callbacks, verbose=2)
        after = tuned.evaluate(images, labels, batch_size=500, verbose=0)[1]
        parity = compare_with_openvino(tuned, controller, images, labels) if controller else ["", "", "", ""]
        rows.append([name, round(100 * before, 2), round(100 * after, 2), *parity])
        print(format_table(HEADER, rows), flush=True)


HEADER = ["variant", "before %", "after %", "OpenVINO %", "top-1 same %", "TF max rel. diff.", "INT8 layers"]


def compare_with_openvino(model, controller, images, labels):
    path = controller.export_model("runs/resnet8.pb").path
    core = ov.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = model.predict(images, batch_size=500, verbose=0)
    received = np.concatenate([compiled(images[start : start + 500])[0] for start in range(0, len(images), 500)])
    eagerly = in_batches(lambda batch: model(batch, training=False).numpy(), images, 500)
    in_tensorflow = in_batches(frozen_graph_of(path, model), images, 500)
    difference = np.abs(in_tensorflow - eagerly).max() / np.abs(eagerly).max()
    same = np.mean(received.argmax(-1) == expected.argmax(-1))
    layers = executed_layers(compiled)
    return [
        round(100 * float(np.mean(received.argmax(-1) == labels)), 2),
        round(100 * float(same), 2),
        float(f"{difference:.2g}"),
        f"{sum(layer.runs_in_integers for layer in layers)} of {len(layers)}",
    ]


if __name__ == "__main__":
    main()
