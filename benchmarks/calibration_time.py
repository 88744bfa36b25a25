"""What calibration costs: time and peak memory of quantizing ResNet-50 on 300 images, over a plain prediction of them.

    python benchmarks/calibration_time.py [--samples 300] [--rounds 3]

Each measurement is a process of its own, because peak memory never falls; predictions and quantizations take turns.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

from keras_compress.reports.formatting import format_table

SIZE = 224


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=WORK, help="measure one thing in this process and print it as JSON")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only, arguments.samples)))
        return
    print(format_table(HEADER, calibration(arguments.samples, arguments.rounds)))


def calibration(samples, rounds, names=None):
    """Return a row for each kind of work: medians of so many processes, and ratios to the prediction."""
    found = {name: [] for name in names or WORK}
    for _ in range(rounds):
        for name, rows in found.items():
            command = [sys.executable, __file__, "--only", name, "--samples", str(samples)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows.append(json.loads(output.splitlines()[-1]))
            print(name, rows[-1], file=sys.stderr, flush=True)
    plain = {key: statistics.median(row[key] for row in found["predict"]) for key in ("seconds", "gigabytes")}
    table = []
    for name, rows in found.items():
        median = {key: statistics.median(row[key] for row in rows) for key in plain}
        figures = [text for key in plain for text in (f"{median[key]:.2f}", f"{median[key] / plain[key]:.2f}")]
        table.append([str(samples), DESCRIPTIONS[name], *figures])
    return table


def measure(name, samples):
    """Return seconds and the peak memory of this process."""
    import numpy as np
    import tf_keras as keras

    import keras_compress  # noqa: F401  not a part of what is measured

    model = keras.applications.ResNet50(weights=None)
    images = np.random.default_rng(0).normal(size=(samples, SIZE, SIZE, 3)).astype(np.float32)
    start = time.perf_counter()
    WORK[name](model, images)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def predict(model, images):
    model.predict(images, batch_size=32, verbose=0)


def quantize(model, images):
    import keras_compress as kc

    kc.quantize(model, images, subset_size=len(images))


def quantize_with_nncf(model, images):
    import nncf
    import openvino as ov

    converted = ov.convert_model(model, input=[1, *model.input_shape[1:]])
    nncf.quantize(converted, nncf.Dataset(list(images[:, None])), subset_size=len(images))


WORK = {"predict": predict, "quantize": quantize, "nncf": quantize_with_nncf}
DESCRIPTIONS = {
    "predict": "Keras' predict",
    "quantize": "keras_compress, quantize",
    "nncf": "NNCF 3, of the OpenVINO model, with conversion",
}
HEADER = ["samples", "work", "seconds", "over predict", "peak GB", "over predict"]

if __name__ == "__main__":
    main()
