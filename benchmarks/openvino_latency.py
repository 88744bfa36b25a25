"""Latency: float, INT8 from keras_compress by way of each format, and INT8 from NNCF's post-training quantization, in one run.

    python benchmarks/openvino_latency.py MobileNetV2 ResNet50

Weights are random, batch normalization is adapted to random data so that signals stay alive through the network. The
compiled models take turns, sample by sample; medians and ratios are printed. Float layers are kept in f32. A second table
shows the files in runtimes of their own, beside the float model in the same format, and their sizes.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import openvino as ov
import tf_keras as keras
from u_net import build_u_net

import keras_compress as kc
from keras_compress.calibration import adapt_batch_norm
from keras_compress.export.openvino_audit import executed_layers
from keras_compress.reports.formatting import format_table

SUFFIXES = (".pb", ".onnx", ".xml", ".tflite")
HEADER = [
    "model",
    "INT8 layers",
    "SQNR dB",
    "float ms",
    "INT8 ms",
    "NNCF ms",
    "float/INT8",
    "float/NNCF",
    "INT8/NNCF",
    ".onnx/.pb",
    ".xml/.pb",
]
F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "models", nargs="*", default=["MobileNetV2", "ResNet50"], help="names in tf_keras.applications, or U-Net"
    )
    parser.add_argument("--runs", type=int, default=60, help="timed inferences of each model")
    parser.add_argument("--without-nncf", action="store_true", help="compare float and keras_compress only")
    arguments = parser.parse_args()
    rows, reports = zip(
        *(measure(name, arguments.runs, not arguments.without_nncf) for name in arguments.models), strict=True
    )
    print(format_table(HEADER, rows))
    for name, report in zip(arguments.models, reports, strict=True):
        print(f"\n{name}: {report}")


def measure(name, runs, with_nncf):
    print(f"{name}: building", flush=True)
    keras.utils.set_random_seed(0)
    model = build_u_net((256, 256, 3), widths=(32, 64, 128, 256)) if name == "U-Net" else float_model(name)
    generator = np.random.RandomState(0)
    data = generator.uniform(-1, 1, (64, *model.input_shape[1:])).astype(np.float32)
    adapt_batch_norm(model, kc.Dataset(data), len(data))
    initializer = {
        "range": {"num_init_samples": 64},
        "batchnorm_adaptation": {"num_bn_adaptation_samples": 0},
    }
    config = {"compression": {"algorithm": "quantization", "initializer": initializer}}
    controller, compressed = kc.create_compressed_model(model, kc.register_default_init_args(config, data))
    with tempfile.TemporaryDirectory() as folder:
        files = {suffix: controller.export_model(Path(folder) / f"model{suffix}").path for suffix in SUFFIXES}
        compiled = {"float": compile_model(convert_float(model))}
        compiled.update({suffix: compile_model(ov.Core().read_model(files[suffix])) for suffix in SUFFIXES[:3]})
        if with_nncf:
            compiled["nncf"] = compile_model(quantize_with_nncf(convert_float(model), data))
        times = time_in_turn(compiled, data, runs)
        report = kc.benchmark([files[suffix] for suffix in SUFFIXES[1:]], data[:1], float_model=model, rounds=runs)
    layers = executed_layers(compiled[".pb"])
    integer = sum(layer.runs_in_integers for layer in layers)
    expected = compressed.predict(data[:8], verbose=0)
    received = np.concatenate([compiled[".pb"](image[np.newaxis])[0] for image in data[:8]])
    sqnr = 10 * np.log10(np.sum(expected**2) / np.sum((expected - received) ** 2))
    int8, nncf = times[".pb"], times.get("nncf", np.nan)
    ratios = [times["float"] / int8, times["float"] / nncf, int8 / nncf, times[".onnx"] / int8, times[".xml"] / int8]
    figures = [sqnr, times["float"] * 1e3, int8 * 1e3, nncf * 1e3, *ratios]
    return [name, f"{integer} of {len(layers)}", *(float(f"{figure:.3g}") for figure in figures)], report


def float_model(name):
    return getattr(keras.applications, name)(weights=None, classifier_activation=None)


def convert_float(model):
    return ov.convert_model(model, input=[1, *model.input_shape[1:]])


def quantize_with_nncf(model, data):
    import nncf

    return nncf.quantize(model, nncf.Dataset(list(data[:, np.newaxis])), subset_size=64)


def compile_model(model):
    model.reshape([1, *(size.get_length() for size in list(model.input().partial_shape)[1:])])
    return ov.Core().compile_model(model, "CPU", F32)


def time_in_turn(compiled, data, runs):
    """Return the median seconds of one inference of each model; the models take turns."""
    seconds = {name: [] for name in compiled}
    for run in range(runs + 5):
        image = data[run % len(data)][np.newaxis]
        for name, model in compiled.items():
            start = time.perf_counter()
            model(image)
            if run >= 5:
                seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
