"""Does exporting leak? Twenty exports of one model to each format in one process, and how the memory grows.

    python benchmarks/export_memory.py [--model MobileNetV2] [--exports 20]

The first export of each format is not counted: it loads the libraries.
"""

import argparse
import gc
import tempfile
from pathlib import Path

import numpy as np
import tf_keras as keras

import keras_compress as kc
from keras_compress.reports.formatting import format_table

FILES = ("model.pb", "model", "model.keras", "model.onnx", "model.xml", "model.tflite")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="MobileNetV2", help="a name in tf_keras.applications")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--exports", type=int, default=20)
    arguments = parser.parse_args()
    shape = (arguments.size, arguments.size, 3)
    model = getattr(keras.applications, arguments.model)(weights=None, input_shape=shape, classes=10)
    images = np.random.RandomState(0).rand(32, *shape).astype(np.float32)
    config = {"compression": {"algorithm": "quantization"}}
    controller, _ = kc.create_compressed_model(model, kc.register_default_init_args(config, images))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for file in FILES:
            sizes = []
            for _ in range(arguments.exports + 1):
                controller.export_model(Path(folder) / file)
                gc.collect()
                sizes.append(resident_megabytes())
            grown = sizes[-1] - sizes[0]
            rows.append([file, round(sizes[0]), round(sizes[-1]), round(grown, 1), round(grown / arguments.exports, 2)])
            print(format_table(["file", "MB after one", "MB after all", "grown", "MB per export"], rows), flush=True)


def resident_megabytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


if __name__ == "__main__":
    main()
