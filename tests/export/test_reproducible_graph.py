"""A model that is written twice, or by another process, gives the same bytes."""

import hashlib
import os
import subprocess
import sys

import pytest

FORMATS = [".pb", ".onnx", ".xml", ".tflite"]
SCRIPT = """
import sys, warnings
from pathlib import Path
import numpy as np
import keras_compress as kc
from keras_compress._keras import keras
warnings.simplefilter("ignore")
layers = keras.layers
keras.utils.set_random_seed(3)
def image():
    x = keras.Input((8, 8, 3))
    y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x)))
    y = layers.Add()([layers.Conv2D(4, 3, padding="same")(y), y])
    return keras.Model(x, layers.Dense(4, activation="swish")(layers.GlobalAveragePooling2D()(y)))
def words():
    x = keras.Input((8, 16))
    y = layers.LayerNormalization(epsilon=1e-6)(layers.Dense(16)(x) + layers.Dense(16)(x))
    return keras.Model(x, [layers.Dense(8)(y), layers.LSTM(4)(layers.Conv1D(4, 3, padding="same")(y))])
for name, make in (("image", image), ("words", words)):
    model = make()
    x = np.random.default_rng(2).normal(size=(16, *model.inputs[0].shape[1:])).astype(np.float32)
    model = kc.quantize(model, x)
    for suffix in sys.argv[2:]:
        path = Path(sys.argv[1]) / f"{name}{suffix}"
        options = {"calibration_data": x} if suffix in (".onnx", ".tflite") else {}
        kc.export_model(model, path, strict=False, **options)
"""


@pytest.mark.extended
def test_processes_write_the_same_bytes(tmp_path):
    found = []
    for seed in ("0", "1"):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", SCRIPT, str(folder), *FORMATS], env=environment, check=True, timeout=600)
        found.append({file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())})
    assert len(found[0]) == 2 * (len(FORMATS) + 1)
    assert found[0] == found[1]
