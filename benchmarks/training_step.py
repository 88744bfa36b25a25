"""What compression costs in training: a step of the compressed model over a step of the float model.

    python benchmarks/training_step.py [resnet8 mobilenet_v2] [--jit] [--rounds 30]

All models of a network take turns in one run; medians of the rounds, and tenths as spread, are of ``train_on_batch`` with
batches of 32. Peak memory is not measured here: it needs a process for each model.
"""

import argparse
import statistics
import time

import numpy as np
import tf_keras as keras
from resnet8 import build_resnet8

import keras_compress as kc
from keras_compress.report.table import format_table

BATCH = 32
NETWORKS = {
    "resnet8": lambda: build_resnet8(),
    "mobilenet_v2": lambda: keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=10),
}
VARIANTS = {
    "INT8": [{"algorithm": "quantization"}],
    "INT8, mixed": [{"algorithm": "quantization", "preset": "mixed"}],
    "magnitude": [{"algorithm": "magnitude_sparsity", "sparsity_init": 0.5}],
    "RB": [{"algorithm": "rb_sparsity", "sparsity_init": 0.5}],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), help=f"of {list(NETWORKS)}")
    parser.add_argument("--jit", action="store_true", help="compile steps with XLA")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    for name in arguments.networks:
        print(f"{name}, batch {BATCH}{', XLA' if arguments.jit else ''}")
        print(measure(NETWORKS[name](), arguments.jit, arguments.rounds), flush=True)


def measure(model, jit, rounds):
    """Return a table of the steps of a network and its variants."""
    generator = np.random.default_rng(0)
    images = generator.normal(size=(BATCH, *model.input_shape[1:])).astype(np.float32)
    labels = generator.integers(0, 10, BATCH)
    models = {"float": model}
    for name, algorithms in VARIANTS.items():
        config = kc.register_default_init_args({"compression": algorithms}, images)
        models[name] = kc.create_compressed_model(model, config)[1]
    for each in models.values():
        each.compile(keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy", jit_compile=jit)
    seconds = {name: [] for name in models}
    for number in range(rounds + 3):
        for name, each in models.items():
            start = time.perf_counter()
            each.train_on_batch(images, labels)
            if number >= 3:  # the first steps trace and warm up
                seconds[name].append(time.perf_counter() - start)
    usual = statistics.median(seconds["float"])
    rows = []
    for name, values in seconds.items():
        low, *_, high = statistics.quantiles(values, n=10)
        median = statistics.median(values)
        rows.append([name, *(f"{1000 * value:.1f}" for value in (median, low, high)), f"{median / usual:.2f}"])
    return format_table(["model", "ms per step", "tenth", "nine tenths", "over float"], rows)


if __name__ == "__main__":
    main()
