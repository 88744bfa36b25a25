"""Accuracy of sparsity on CIFAR-10: ResNet-8, fine-tuned from the trained float model, beside float fine-tuning.

    python benchmarks/sparsity_cifar10.py --data path/to/cifar10.zip --epochs 3 [--variants ...]

Every variant, float included, is fine-tuned in the same way: Adam 1e-3 with cosine decay, batches of 128. The level rises
with the optimizer steps to its target at half of the epochs; masks are frozen one epoch before the end, gates (RB) after seven
tenths of the epochs. After training the
level is counted in Keras, in the stripped model, in the frozen graph and in the int8 constants of the OpenVINO model.
"""

import argparse
from pathlib import Path

import numpy as np
import tf_keras as keras
from cifar10 import load_cifar10, training_pipeline
from fine_tuning import BATCH, compile_for, trained_float_model, variant
from zeros_in_files import zeros_everywhere

import keras_compress as kc
from keras_compress.reports.formatting import format_table

INT8 = {"algorithm": "quantization"}
PLACES = ("Keras", "reloaded", "stripped", "frozen graph", "OpenVINO")


def schedule(epochs, **params):
    return {
        "sparsity_target_epoch": max(epochs // 2, 1),
        "sparsity_freeze_epoch": epochs - 1,
        "update_per_optimizer_step": True,
        **params,
    }


def variants(epochs):
    """Return the algorithms of each variant, None for float."""
    magnitude = {
        "algorithm": "magnitude_sparsity",
        "params": schedule(epochs, sparsity_target=0.6, schedule="polynomial", power=3),
    }
    pattern = {"algorithm": "magnitude_sparsity", "params": schedule(epochs, pattern="2:4", power=3)}
    settle = {"sparsity_freeze_epoch": round(0.7 * epochs)}  # the rest is trained without chance
    rb = {"algorithm": "rb_sparsity", "params": schedule(epochs, sparsity_target=0.6, **settle)}
    polynomial = {**rb, "params": {**rb["params"], "schedule": "polynomial", "power": 3}}
    return {
        "float": None,
        "magnitude 60 %": [magnitude],
        "magnitude 60 % + INT8": [magnitude, INT8],
        "2:4 + INT8": [pattern, INT8],
        "RB 60 %": [rb],
        "RB 60 %, polynomial": [polynomial],
        "RB 60 % + INT8": [rb, INT8],
        "RB 60 %, polynomial + INT8": [polynomial, INT8],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="zip file or folder with train/ and test/ by class")
    parser.add_argument("--cache", type=Path, default=Path("runs/resnet8_float.keras"), help="trained float model")
    parser.add_argument("--float-epochs", type=int, default=56)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--variants", nargs="*", default=list(variants(3)))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    (train_images, train_labels), (images, labels) = load_cifar10(arguments.data)
    images = images.astype(np.float32) / 255
    model = trained_float_model(arguments.cache, train_images, train_labels, arguments.float_epochs)
    rows = []
    for name in arguments.variants:
        keras.utils.set_random_seed(arguments.seed)
        data = training_pipeline(train_images, train_labels, BATCH, arguments.seed)
        tuned, controller = variant(model, variants(arguments.epochs)[name], data)
        callbacks = kc.create_compression_callbacks(controller) if controller else []
        compile_for(tuned, arguments.epochs * (len(train_images) // BATCH))
        tuned.fit(data, epochs=arguments.epochs, callbacks=callbacks, verbose=2)
        accuracy = tuned.evaluate(images, labels, batch_size=500, verbose=0)[1]
        zeros = zeros_everywhere(controller) if controller else dict.fromkeys(PLACES, 0.0)
        size = controller.statistics().size if controller else None
        rows.append(
            [name, round(100 * accuracy, 2), *(round(100 * zeros[place], 3) for place in PLACES)]
            + ([size.dense, size.gzip, size.sparse] if size else [""] * 3)
        )
        header = ["variant", "accuracy %", *(f"zeros % in {place}" for place in PLACES), "bytes", "gzip", "sparse"]
        print(format_table(header, rows), flush=True)


if __name__ == "__main__":
    main()
