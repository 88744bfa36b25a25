"""Post-training quantization of trained networks: accuracy beside float, in Keras and in OpenVINO, and beside NNCF.

    python benchmarks/post_training.py --cifar10 path/to/cifar10.zip --camvid path/to/camvid.zip [resnet8 ds_cnn ...]

For each task 300 training samples calibrate; every metric is measured on the whole test set. W4A8 is measured with rounding
to the nearest, with corrected biases, and with learned rounding.
"""

import argparse
import json
import tempfile
from pathlib import Path

import nncf
import openvino
import tensorflow as tf
from post_training_tasks import tasks

import keras_compress as kc
from keras_compress.reports.formatting import format_table

FOUR_BITS = {"weights_quantization_params": {"num_bits": 4}}
#: Keyword arguments of quantize by the name of the row.
VARIANTS = {
    "W8A8": {},
    "W8A8, biases in sequence": {"fast_bias_correction": False},
    "W8A8, no bias correction": {"advanced_parameters": {"disable_bias_correction": True}},
    "W8A8, mixed": {"preset": "mixed"},
    "W8A8, channels equalized": {"advanced_parameters": {"disable_channel_alignment": False}},
    "W8A8, batch norm adapted": {"advanced_parameters": {"batch_norm_adaptation": 300}},
    "W8A8, ranges of least error": {"advanced_parameters": {"activations_range_estimator_params": {"type": "mse"}}},
    "W8A8, ranges of least divergence": {
        "advanced_parameters": {"activations_range_estimator_params": {"type": "entropy"}}
    },
    "W4A8, nearest": {"advanced_parameters": {**FOUR_BITS, "disable_bias_correction": True}},
    "W4A8": {"advanced_parameters": FOUR_BITS},
    "W4A8, ranges of least error": {
        "advanced_parameters": {**FOUR_BITS, "weights_range_estimator_params": {"type": "mse"}}
    },
    "W4A8, adaptive rounding": {"advanced_parameters": {**FOUR_BITS, "adaptive_rounding": {}}},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="of tasks; all by default")
    parser.add_argument("--cifar10", type=Path, required=True, help="zip file or folder with train/ and test/ by class")
    parser.add_argument("--camvid", type=Path, required=True, help="zip file or folder with train/ and val/")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the trained float models")
    parser.add_argument("--variants", nargs="*", help=f"of {list(VARIANTS)}; all by default")
    arguments = parser.parse_args()
    results = {}
    for task in tasks(arguments.cifar10, arguments.camvid, arguments.runs):
        if not arguments.names or task.name in arguments.names:
            results[task.name] = measure(task, arguments.variants or list(VARIANTS))
            (arguments.runs / "post_training.json").write_text(json.dumps(results, indent=1))


def measure(task, variants):
    """Return the metric of the float model and of every variant, printing the table as it grows."""
    found = {"float": task.measure(task.model.predict_on_batch)}
    show(task, found)
    for name in variants:
        quantized = kc.quantize(task.model, task.calibration, **VARIANTS[name])
        found[name] = task.measure(quantized.predict_on_batch)
        if name == "W8A8":
            found["W8A8, in OpenVINO"] = task.measure(in_openvino(quantized))
            found["W8A8, NNCF in OpenVINO"] = task.measure(nncf_in_openvino(task))
        show(task, found)
    return found


def show(task, found):
    rows = [[name, f"{value:.2f}", f"{value - found['float']:+.2f}"] for name, value in found.items()]
    print(f"\n{task.name}\n{format_table(['variant', 'metric %', 'to float'], rows)}", flush=True)


def in_openvino(quantized):
    """Return a function that runs the exported model."""
    with tempfile.TemporaryDirectory() as folder:
        kc.export_model(quantized, Path(folder) / "model.xml")
        return runner(openvino.Core().read_model(Path(folder) / "model.xml"))


def nncf_in_openvino(task):
    """Return a function that runs the float model as NNCF quantizes it, with its defaults and the same samples."""
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(task.model, folder)
        converted = openvino.convert_model(folder)
    samples = nncf.Dataset([sample[None] for sample in task.calibration])
    return runner(nncf.quantize(converted, samples, subset_size=len(task.calibration)))


def runner(model):
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: compiled(inputs)[0]


if __name__ == "__main__":
    main()
