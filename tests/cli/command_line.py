"""What the tests of the command line share: calling it, in this process or another, and files to call it with."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

import keras_compress_cli
from keras_compress import quantize
from keras_compress._keras import keras
from keras_compress_cli.main import main
from tests import zoo

ROOT = Path(keras_compress_cli.__file__).parent.parent

#: A module of entry points, as users write them.
ENTRY_POINTS = """
import numpy as np

from keras_compress._keras import keras

NOT_A_FUNCTION = 3


def model():
    return keras.models.load_model("model.keras")


def samples():
    return [np.load("samples.npy")[:16]]


def double(inputs):
    return inputs * 2


def share(model, data):
    inputs, labels = data
    return float(np.mean(model.predict(inputs, verbose=0).argmax(-1) == labels))


def broken(*arguments):
    raise ZeroDivisionError("nothing to divide by")


def interrupted(*arguments):
    raise KeyboardInterrupt


def load():
    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3, "softmax", name="out")])
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(64, 4)).astype("float32")
    labels = inputs[:, :3].argmax(-1)
    keras.utils.set_random_seed(0)
    return model, (inputs[:48], labels[:48]), (inputs[48:], labels[48:])


def load_compiled():
    model, *data = load()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return {"model": model, "training_data": data[0]}
"""


@dataclass(frozen=True)
class Called:
    """What a call of the command line left behind."""

    code: int
    out: str
    err: str

    @property
    def values(self):
        """The result, of a call with ``--json``."""
        return json.loads(self.out)


def call(capfd, *arguments):
    """Call the command line in this process."""
    capfd.readouterr()
    code = main([str(argument) for argument in arguments])
    written = capfd.readouterr()
    return Called(code, written.out, written.err)


def environment():
    """The environment of another process that is to find the packages; how loud TensorFlow is, the command line decides."""
    variables = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return {**variables, "PYTHONPATH": str(ROOT)}


def call_in_process(*arguments, module="keras_compress_cli", cwd=None):
    """Call the command line in another process."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment(), timeout=300)
    return Called(done.returncode, done.stdout, done.stderr)


def write_files(folder):
    """Write a model, its compressed copy, samples with the labels that the model itself gives them, and images by class."""
    model = zoo.convolution()
    samples = np.random.default_rng(0).random((64, 8, 8, 3), np.float32)
    labels = model.predict(samples, verbose=0).argmax(-1)
    model.save(folder / "model.keras")
    quantize(model, samples).save(folder / "compressed.keras")
    np.save(folder / "samples.npy", samples)
    np.savez(folder / "labelled.npz", image=samples, y=labels)
    for number, image in enumerate((samples[:12] * 255).astype(np.uint8)):
        path = folder / "images" / f"class{number % 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(image).numpy())
    (folder / "training.py").write_text(ENTRY_POINTS)
    config = {"compression": {"algorithm": "quantization"}}
    (folder / "int8.json").write_text(json.dumps(config))
    keras.backend.clear_session()
