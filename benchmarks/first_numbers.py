"""Before any training: how near create_compressed_model and quantize start to the float model, on trained networks.

    python benchmarks/first_numbers.py --models resnet20.keras … --data samples.npy [--test test.npy --labels labels.npy]

For each network: signal over error of the outputs in dB on samples that did not calibrate, agreement of the first class, accuracy,
and the seconds that it took, at 8 and at 4 bits.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import tf_keras as keras

import keras_compress as kc
from keras_compress.numerics import decibels
from keras_compress.reports.formatting import format_table

HEADER = ["model", "bits", "by", "dB", "agreement %", "accuracy %", "float %", "seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, nargs="+", required=True, help=".keras files of trained classifiers")
    parser.add_argument("--data", type=Path, required=True, help=".npy file of samples to calibrate on")
    parser.add_argument("--test", type=Path, required=True, help=".npy file of samples")
    parser.add_argument("--labels", type=Path, required=True, help=".npy file of their classes")
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 4], help="of weights")
    arguments = parser.parse_args()
    data, test, labels = (np.load(path) for path in (arguments.data, arguments.test, arguments.labels))
    rows = []
    for path in arguments.models:
        model = keras.models.load_model(path, compile=False)
        expected = model.predict(test, batch_size=256, verbose=0)
        for bits in arguments.bits:
            for name, compressed in {"quantize": quantized, "create": created}.items():
                start = time.perf_counter()
                made = compressed(model, data, bits)
                seconds = time.perf_counter() - start
                found = made.predict(test, batch_size=256, verbose=0)
                rows.append([path.stem, bits, name, *compared(expected, found, labels.reshape(-1)), f"{seconds:.1f}"])
                print(format_table(HEADER, rows), flush=True)


def quantized(model, data, bits):
    return kc.quantize(model, data, advanced_parameters={"weights_quantization_params": {"num_bits": bits}})


def created(model, data, bits):
    config = {"compression": {"algorithm": "quantization", "weights": {"bits": bits}}}
    controller, compressed = kc.create_compressed_model(model, kc.register_default_init_args(config, data))
    print("\n".join(controller.statistics(quickly_collected_only=True).calibration), flush=True)
    return compressed


def compared(expected, found, labels):
    expected, found = (outputs.astype(np.float64) for outputs in (expected, found))
    classes, made = expected.argmax(-1), found.argmax(-1)
    error = np.sum((found - expected) ** 2) / np.sum(expected**2)
    shares = (np.mean(made == classes), np.mean(made == labels), np.mean(classes == labels))
    return [f"{decibels(float(error)):.1f}", *(f"{share:.2%}".rstrip("%") for share in shares)]


if __name__ == "__main__":
    main()
