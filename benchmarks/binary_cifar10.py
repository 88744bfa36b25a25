"""Accuracy of binarization on CIFAR-10: a trained ResNet-8 of twice the width, XNOR and DoReFa with the staged schedule.

    python benchmarks/binary_cifar10.py --data path/to/cifar10.zip [--epochs 10] [--picture docs/binarization.png]

Stages: one epoch in floating point, then binary activations, one or two epochs later binary weights, and from the middle on
a learning rate that falls from 1e-3 to zero. What ``kc.keep_in_float`` names stays in floating point. The picture shows the
accuracy on the 10,000 test images after every epoch, of the modes trained now and of those in the JSON file beside it.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import openvino as ov
import tf_keras as keras
from cifar10 import load_cifar10, training_pipeline
from fine_tuning import BATCH, trained_float_model

import keras_compress as kc
from keras_compress.export.openvino_audit import executed_layers
from keras_compress.reports.formatting import format_table


def stages(epochs):
    return {
        "activations_quant_start_epoch": 1,
        "weights_quant_start_epoch": 2,
        "lr_poly_drop_start_epoch": epochs // 2,
        "lr_poly_drop_duration_epochs": epochs - epochs // 2,
        "base_lr": 1e-3,
        "disable_wd_start_epoch": epochs // 2,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="zip file or folder with train/ and test/ by class")
    parser.add_argument("--cache", type=Path, default=Path("runs/resnet8_wide_float.keras"), help="trained float model")
    parser.add_argument("--float-epochs", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--modes", nargs="*", default=["xnor", "dorefa"])
    parser.add_argument("--picture", type=Path, default=Path("docs/binarization.png"))
    arguments = parser.parse_args()
    (train_images, train_labels), (images, labels) = load_cifar10(arguments.data)
    images = images.astype(np.float32) / 255
    model = trained_float_model(arguments.cache, train_images, train_labels, arguments.float_epochs, width=2)
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    reference = model.evaluate(images, labels, batch_size=500, verbose=0)[1]
    rows, kept = [["float", f"{reference:.2%}", "", "", "", ""]], arguments.picture.with_suffix(".json")
    curves = json.loads(kept.read_text()) if kept.exists() else {}
    for mode in arguments.modes:
        keras.utils.set_random_seed(0)
        data = training_pipeline(train_images, train_labels, BATCH)
        config = {"compression": {"algorithm": "binarization", "mode": mode, "params": stages(arguments.epochs)}}
        config = kc.register_default_init_args(kc.keep_in_float(model, config), data)
        controller, binary = kc.create_compressed_model(model, config)
        binary.compile(keras.optimizers.AdamW(1e-3, 1e-4), "sparse_categorical_crossentropy", ["accuracy"])
        history = binary.fit(
            data,
            epochs=arguments.epochs,
            validation_data=(images, labels),
            validation_batch_size=500,
            callbacks=kc.create_compression_callbacks(controller),
            verbose=2,
        )
        curves[mode] = history.history["val_accuracy"]
        path = controller.export_model(f"runs/resnet8_{mode}.xml", batch_size=500).path
        compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        received = np.concatenate([compiled(images[start : start + 500])[0] for start in range(0, len(images), 500)])
        same = np.mean(received.argmax(-1) == binary.predict(images, batch_size=500, verbose=0).argmax(-1))
        layers = executed_layers(compiled)
        ones = [layer for layer in layers if layer.kind == "BinaryConvolution"]
        share = sum(layer.multiply_accumulates for layer in ones) / sum(layer.multiply_accumulates for layer in layers)
        drop = 100 * (curves[mode][-1] - reference)
        rows.append([mode, f"{curves[mode][-1]:.2%}", f"{drop:.2f}", len(ones), f"{share:.1%}", f"{same:.2%}"])
        print(format_table(HEADER, rows), flush=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(curves))
    draw(arguments.picture, reference, curves, stages(arguments.epochs))


HEADER = ["model", "accuracy", "points", "one-bit layers", "of the operations", "OpenVINO top-1 same"]


def draw(path, reference, curves, params):
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for mode, accuracy in curves.items():
        axes.plot(range(1, len(accuracy) + 1), accuracy, marker="o", label=mode)
    axes.axhline(reference, color="gray", linestyle="--", label="float")
    names = {"activations_quant_start_epoch": "activations", "weights_quant_start_epoch": "weights"}
    for key, label in {**names, "lr_poly_drop_start_epoch": "learning rate falls"}.items():
        axes.axvline(params[key] + 0.5, color="gray", linewidth=0.5)
        axes.text(params[key] + 0.55, 0.02, label, rotation=90, transform=axes.get_xaxis_transform(), fontsize=8)
    axes.set(
        xlabel="epoch", ylabel="accuracy on the test images", title="Binarization in stages, ResNet-8 x 2, CIFAR-10"
    )
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
