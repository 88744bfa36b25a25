"""Latency of a binarized ResNet-18 beside its float model in OpenVINO, and agreement with Keras.

    python benchmarks/binary_latency.py [--rounds 20] [--inputs 500]

Weights are random, with batch normalization adapted to noise images so that signals stay alive. Rounds of float, binary
and binary + INT8 are interleaved; the medians are compared. Agreement is counted on ``--inputs`` images.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import openvino as ov
import tf_keras as keras
from resnet18 import build_resnet18

import keras_compress as kc
from keras_compress.calibration import adapt_batch_norm
from keras_compress.export.openvino_audit import executed_layers
from keras_compress.reports.formatting import format_table

STAGES = {"activations_quant_start_epoch": 0, "weights_quant_start_epoch": 0}
ADAPT = {"batchnorm_adaptation": {"num_bn_adaptation_samples": 128}}
BINARY = {"algorithm": "binarization", "params": STAGES, "initializer": ADAPT}
INT8 = {"algorithm": "quantization", "initializer": ADAPT}
VARIANTS = {"binary": [BINARY], "binary + INT8": [BINARY, INT8]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--inputs", type=int, default=500)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    model = build_resnet18()
    images = np.random.RandomState(0).uniform(0, 1, (arguments.inputs, 224, 224, 3)).astype(np.float32)
    # Noise of another colour and size of grain in every image, so that their classes differ.
    for number, image in enumerate(images):
        grain = 2 ** (number % 6)
        image[:] = np.kron(image[: -(-224 // grain), : -(-224 // grain)], np.ones((grain, grain, 1)))[:224, :224]
        image *= np.random.RandomState(number).uniform(0, 1, 3)
    adapt_batch_norm(model, kc.Dataset(images[:128]), 128)
    core = ov.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = {"float": core.compile_model(_convert(model), "CPU", settings)}
    rows = {}
    for name, algorithms in VARIANTS.items():
        config = kc.keep_in_float(model, {"compression": algorithms}, last_convolution=False)
        controller, binary = kc.create_compressed_model(model, kc.register_default_init_args(config, images[:128]))
        path = controller.export_model(f"runs/resnet18_{name.replace(' + ', '_')}.xml", batch_size=1).path
        compiled[name] = core.compile_model(path, "CPU", settings)
        layers = executed_layers(compiled[name])
        ones = [layer for layer in layers if layer.kind == "BinaryConvolution"]
        share = sum(layer.multiply_accumulates for layer in ones) / sum(layer.multiply_accumulates for layer in layers)
        expected = binary.predict(images, batch_size=20, verbose=0)
        received = np.concatenate([compiled[name](image[np.newaxis])[0] for image in images])
        same = np.mean(expected.argmax(-1) == received.argmax(-1))
        size = path.with_suffix(".bin").stat().st_size
        rows[name] = [len(ones), f"{share:.1%}", f"{same:.1%}", len(set(expected.argmax(-1))), round(size / 1e6, 2)]
    times = {name: [] for name in compiled}
    for _ in range(arguments.rounds):
        for name, network in compiled.items():
            start = time.perf_counter()
            network(images[:1])
            times[name].append(time.perf_counter() - start)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    table = [
        [name, round(1000 * medians[name], 1), round(medians["float"] / medians[name], 2), *rows.get(name, [""] * 5)]
        for name in compiled
    ]
    print(format_table(HEADER, table))


HEADER = [
    "model",
    "ms",
    "times faster",
    "one-bit layers",
    "of the operations",
    "top-1 same",
    "classes seen",
    "weights MB",
]


def _convert(model):
    with tempfile.TemporaryDirectory() as folder:
        path = kc.export_model(model, Path(folder) / "model.pb", batch_size=1).path
        return ov.Core().read_model(path)


if __name__ == "__main__":
    main()
