"""Time and memory of creating a compressed model, beside cloning the float one.

    python benchmarks/creation.py ResNet50 ResNet101 ResNet152 --tools keras_compress tfmot nncf

Each model runs in a process of its own for each tool. Time: medians of runs in turn, as a multiple of ``clone_model`` and
``set_weights`` in the same process. Memory: the peak of the process above its size after importing, as a multiple of the bytes of the
weights; the float model itself is included.
"""

import argparse
import json
import resource
import subprocess
import sys

from peers import TOOLS, ask

from keras_compress.reports.formatting import format_table

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
HEADER = ["model", "layers", "tool", "clone s", "create s", "ratio", "ms per layer", "weights MB", "peak / weights"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS, help="names in tf_keras.applications")
    parser.add_argument("--tools", nargs="*", default=["keras_compress"], choices=["keras_compress", "tfmot", "nncf"])
    parser.add_argument("--memory-only", action="store_true", help="used by the processes this one starts")
    arguments = parser.parse_args()
    if arguments.memory_only:
        print(json.dumps(measure_memory(arguments.models[0])))
        return
    rows = []
    for name in arguments.models:
        rows += creation(name, arguments.tools)
        print(format_table(HEADER, rows), flush=True)


def creation(name, tools):
    """Return a row for each tool: seconds, and for this package the memory too."""
    command = [sys.executable, __file__, name, "--memory-only"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    layers, megabytes, peak = json.loads(output.stdout.splitlines()[-1])
    rows = []
    for tool in tools:
        try:
            found = ask(tool, "creation", name)
        except RuntimeError:  # several refuse models
            rows.append([name, str(layers), TOOLS[tool], "", "refused", "", "", f"{megabytes:.0f}", ""])
            continue
        clone, create = found["clone"], found["create"]
        memory = f"{peak:.2f}" if tool == "keras_compress" else ""
        figures = [f"{clone:.2f}", f"{create:.2f}", f"{create / clone:.2f}", f"{1e3 * create / layers:.1f}"]
        rows.append([name, str(layers), TOOLS[tool], *figures, f"{megabytes:.0f}", memory])
    return rows


CONFIG = {"compression": {"algorithm": "quantization"}}


def measure_memory(name):
    """Return the number of layers, megabytes of weights, and peak memory over them."""
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
    return len(model.layers), weights / 1e6, (peak - baseline) * 1024 / weights


if __name__ == "__main__":
    main()
