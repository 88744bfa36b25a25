"""All figures of speed beside peers in one command: docs/benchmarks.md and docs/benchmarks.json.

    python benchmarks/bench.py [--only training memory ...] [--data cifar10.zip]

Sections that are not measured keep what the JSON file holds, so each can be measured alone. The environments of the peers are
made on first use (some minutes, two gigabytes).
"""

import argparse
import datetime
import functools
import json
import os
import platform
import tempfile
from pathlib import Path

import numpy as np
import openvino_latency
import tensorflow as tf
from calibration_time import HEADER as CALIBRATION_HEADER
from calibration_time import calibration
from cifar10 import load_cifar10
from creation import HEADER as CREATION_HEADER
from creation import creation
from fine_tuning import trained_float_model
from peers import TOOLS, ask
from short_times import HEADER as SHORT_HEADER
from short_times import short_times
from training_step import MEMORY_HEADER, STEPS_HEADER, TIMED, memory, steps

ACCURACY_HEADER = ["tool", "model", "top-1 %", "below float"]
RUNTIMES_HEADER = ["model", "file", "ms", "times faster", "MB"]
LATENCY_MODELS = ["MobileNetV2", "ResNet50", "InceptionV3", "U-Net"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--data", type=Path, help="CIFAR-10, for accuracy; that section is left out without it")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks.md"))
    arguments = parser.parse_args()
    store = arguments.output.with_suffix(".json")
    results = json.loads(store.read_text()) if store.exists() else {}
    for name in arguments.only:
        if name == "accuracy" and arguments.data is None:
            continue
        header, rows = SECTIONS[name][2](arguments)
        results[name] = {"date": str(datetime.date.today()), "header": header, "rows": rows}
        store.write_text(json.dumps(results, indent=1) + "\n")
        arguments.output.write_text(page(results))
        print(section(name, results[name]), flush=True)


def training(arguments):
    tools = {"resnet8": list(TOOLS), "mobilenet_v2": ["keras_compress", "tfmot", "nncf"]}
    return STEPS_HEADER, [row for name in tools for row in steps(name, tools[name])]


def training_with_xla(arguments):
    return STEPS_HEADER, [row for name in TIMED for row in steps(name, ["keras_compress", "tfmot"], jit=True, rounds=4)]


def training_memory(arguments):
    quantized = [("keras_compress", "INT8"), ("tfmot", "INT8"), ("nncf", "INT8")]
    others = [("keras_compress", "magnitude"), ("keras_compress", "RB")]
    return MEMORY_HEADER, memory("mobilenet_v2_full", quantized) + memory("mobilenet_v2", quantized + others)


def creation_over_clone(arguments):
    names = ["ResNet50", "DenseNet121", "EfficientNetB0"]
    return CREATION_HEADER, [row for name in names for row in creation(name, ["keras_compress", "tfmot", "nncf"])]


def creation_growth(arguments):
    names = ["ResNet50", "ResNet101", "ResNet152", "DenseNet121", "DenseNet169", "DenseNet201"]
    return CREATION_HEADER, [row for name in names for row in creation(name, ["keras_compress"])]


def calibration_over_predict(arguments):
    return CALIBRATION_HEADER, calibration(300, 3)


def calibration_growth(arguments):
    names = ["predict", "quantize"]
    return CALIBRATION_HEADER, [row for samples in (100, 300, 900) for row in calibration(samples, 1, names)]


@functools.cache
def latencies(name):
    """Return the row of a network in OpenVINO, and the report on the runtimes of the other formats."""
    return openvino_latency.measure(name, 60, True)


def latency(arguments):
    return openvino_latency.HEADER, [[str(cell) for cell in latencies(name)[0]] for name in LATENCY_MODELS]


def latency_of_runtimes(arguments):
    rows = [(name, row) for name in LATENCY_MODELS for row in latencies(name)[1].rows]
    return RUNTIMES_HEADER, [
        [name, row.name, f"{row.median:.1f}", f"{row.times_faster:.2f}", f"{row.size / 1e6:.1f}"] for name, row in rows
    ]


def waits(arguments):
    return SHORT_HEADER, short_times()


def accuracy(arguments):
    """Three epochs from the same weights with every tool: ResNet-8 on CIFAR-10."""
    (train_images, train_labels), (test_images, test_labels) = load_cifar10(arguments.data)
    model = trained_float_model(Path("runs/resnet8_float.keras"), train_images, train_labels, 56)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        weights, data = Path(folder) / "float.h5", Path(folder) / "cifar10.npz"
        model.save_weights(weights)
        np.savez(
            data,
            train_images=train_images,
            train_labels=train_labels,
            test_images=test_images,
            test_labels=test_labels,
        )
        for tool, names in (("keras_compress", ("INT8", "W4A4")), ("tfmot", ("INT8",)), ("nncf", ("INT8", "W4A4"))):
            plain = ask(tool, "accuracy", weights, data, "float")
            rows.append([TOOLS[tool], "float", f"{plain:.2f}", ""])
            for name in names:
                found = ask(tool, "accuracy", weights, data, name)
                rows.append([TOOLS[tool], name, f"{found:.2f}", f"{plain - found:.2f}"])
    return ACCURACY_HEADER, rows


SECTIONS = {
    "training": (
        "Training step over the float step",
        "Batch of 32, Adam. Every ratio is of two steps that followed each other in one process; median and quartiles of 120.",
        training,
    ),
    "xla": ("The same with `jit_compile=True`", "Median and quartiles of 40.", training_with_xla),
    "memory": (
        "Peak memory of training",
        "Four steps in a process of its own, creation included, above what was in use after training a model of one layer. "
        "In a small network most of it is the graph of the step, to which every trained range adds a variable and its steps of Adam.",
        training_memory,
    ),
    "creation": (
        "Creating the compressed model",
        "INT8, without data; over `clone_model` and `set_weights` in the same process; medians of three.",
        creation_over_clone,
    ),
    "creation_growth": ("Growth with the number of layers", "As above.", creation_growth),
    "calibration": (
        "Quantization after training: ResNet-50, 300 images of 224 x 224",
        "The whole of `quantize`, creation and bias correction included; processes in turn, medians of three.",
        calibration_over_predict,
    ),
    "calibration_growth": ("Growth with the number of samples", "One process each.", calibration_growth),
    "latency": (
        "Latency in OpenVINO",
        "One image, float layers kept in f32, compiled models in turn, medians of 60. NNCF 3 quantizes the converted float model.",
        latency,
    ),
    "runtimes": (
        "Latency of each format in its own runtime",
        "ONNX Runtime, OpenVINO and TensorFlow Lite, one image; times faster than the float model in the same format.",
        latency_of_runtimes,
    ),
    "waits": ("Short waits", "Processor time of a process of its own; medians of five.", waits),
    "accuracy": (
        "Accuracy at equal budget: ResNet-8 on CIFAR-10",
        "Three epochs of Adam with cosine decay from 1e-3, batches of 128, from the same float weights; one seed. NNCF's float "
        "model is trained in TensorFlow 2.15.",
        accuracy,
    ),
}


def page(results):
    """Return the Markdown page of all sections that were measured."""
    parts = [section(name, results[name]) for name in SECTIONS if name in results]
    return "\n\n".join([PREAMBLE.format(machine=machine()), *parts]) + "\n"


def section(name, result):
    title, note, _ = SECTIONS[name]
    lines = [" | ".join(map(str, row)) for row in [result["header"], ["---"] * len(result["header"]), *result["rows"]]]
    table = "\n".join(f"| {line} |" for line in lines)
    return f"## {title}\n\n{note} `python benchmarks/bench.py --only {name}`, {result['date']}.\n\n{table}"


def machine():
    model = next(
        (line.split(":")[1].strip() for line in cpu_lines() if line.startswith("model name")), platform.machine()
    )
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}, TensorFlow {tf.__version__}"


def cpu_lines():
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


PREAMBLE = """# Speed, beside peers

Written by `make bench`, which measures everything here again. {machine}, shared with other work: trust ratios, not
milliseconds. TFMOT 0.8.1 runs on the same TensorFlow, NNCF 2.19 and larq on TensorFlow 2.15, each beside the float model of
its own process."""


if __name__ == "__main__":
    main()
