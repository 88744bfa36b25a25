"""Time and memory of creating a compressed model, beside cloning the float one.

    python benchmarks/creation.py ResNet50 ResNet101 ResNet152 DenseNet121 DenseNet169 DenseNet201

Each model runs in a process of its own. Time: medians of runs in turn, as a multiple of ``clone_model`` and
``set_weights``. Memory: the peak of the process above its size after importing, as a multiple of the bytes of the
weights; the float model itself is included.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

MODELS = [
    "MobileNetV2",
    "EfficientNetB0",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS, help="names in tf_keras.applications")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--measure", choices=["time", "memory"], help="used by the processes this one starts")
    arguments = parser.parse_args()
    if arguments.measure:
        measure = measure_time if arguments.measure == "time" else measure_memory
        print(json.dumps(measure(arguments.models[0], arguments.runs)))
        return
    from keras_compress.report.table import format_table

    rows = []
    for name in arguments.models:
        figures = {}
        for what in ("time", "memory"):
            command = [sys.executable, __file__, name, "--measure", what, "--runs", str(arguments.runs)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            figures.update(json.loads(output.stdout.splitlines()[-1]))
        figures["ratio"] = figures["create s"] / figures["clone s"]
        figures["ms per layer"] = 1e3 * figures["create s"] / figures["layers"]
        rows.append([name, *(float(f"{figures[key]:.3g}") for key in COLUMNS)])
        print(format_table(["model", *COLUMNS], rows), flush=True)


COLUMNS = ["layers", "clone s", "create s", "ratio", "ms per layer", "weights MB", "peak / weights"]
CONFIG = {"compression": {"algorithm": "quantization"}}


def measure_time(name, runs):
    import warnings

    import tf_keras as keras

    import keras_compress as kc

    warnings.simplefilter("ignore")
    model = getattr(keras.applications, name)(weights=None)
    clone_seconds, create_seconds = [], []
    for _ in range(runs + 1):
        start = time.perf_counter()
        clone = keras.models.clone_model(model)
        clone.set_weights(model.get_weights())
        clone_seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
        kc.create_compressed_model(model, CONFIG)
        create_seconds.append(time.perf_counter() - start)
    return {
        "layers": len(model.layers),
        "clone s": statistics.median(clone_seconds[1:]),
        "create s": statistics.median(create_seconds[1:]),
    }


def measure_memory(name, runs):
    import warnings

    import tf_keras as keras

    import keras_compress as kc

    warnings.simplefilter("ignore")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])  # whatever TensorFlow sets up once
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = getattr(keras.applications, name)(weights=None)
    compressed = kc.create_compressed_model(model, CONFIG)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    weights = sum(weight.numpy().nbytes for weight in model.weights)
    del compressed
    return {"weights MB": weights / 1e6, "peak / weights": (peak - baseline) * 1024 / weights}


if __name__ == "__main__":
    main()
