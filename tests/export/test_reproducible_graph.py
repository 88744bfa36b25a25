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
import numpy as np, tensorflow as tf
import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.registry import format_of
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
def attention():
    x = keras.Input((6, 16))
    y = layers.MultiHeadAttention(2, 8)(x, x)
    z = layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 8), bias_axes="de")(layers.LayerNormalization()(y + x))
    return keras.Model(x, tf.einsum("abde,acde->abc", z, z))
def cross_attention():
    x, y = keras.Input((6, 16)), keras.Input((5, 12))
    z = layers.MultiHeadAttention(2, 8, value_dim=4)(x, y)
    return keras.Model([x, y], [layers.Dense(4)(layers.Attention()([z, x])), layers.Dense(3)(z)])
def loops():
    x = keras.Input((None, 16))
    y = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(layers.TimeDistributed(layers.Dense(16))(x))
    return keras.Model(x, [layers.GRU(4)(layers.Masking()(y)), layers.RNN([layers.LSTMCell(3), layers.GRUCell(4)])(y)])
def pictures():
    x = keras.Input((4, 6, 6, 2))
    return keras.Model(x, layers.Dense(2)(layers.Flatten()(layers.ConvLSTM2D(3, 3)(x))))
if sys.argv[2] == "1":  # what a process did before does not matter
    keras.Sequential([keras.Input((8, 16)), layers.LSTM(3)]).predict(np.zeros((2, 8, 16)), verbose=0)
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
for make in (image, words, attention, cross_attention, loops, pictures):
    name = make.__name__
    model = make()
    generator = np.random.default_rng(2)
    x = [generator.normal(size=(16, *[n or 6 for n in i.shape[1:]])).astype(np.float32) for i in model.inputs]
    x = tf.data.Dataset.from_tensor_slices(tuple(x)).batch(4).map(lambda *a: (a if len(a) > 1 else a[0],))
    model = kc.quantize(model, x)
    for suffix in sys.argv[3:]:
        path = Path(sys.argv[1]) / f"{name}{suffix}"
        options = {"calibration_data": x} if suffix in (".onnx", ".tflite") else {}
        format_of(path).write(model, path, **options)
"""


@pytest.mark.extended
def test_processes_write_the_same_bytes(tmp_path):
    found = []
    for seed in ("0", "1"):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(folder), seed, *FORMATS], env=environment, check=True, timeout=1200
        )
        found.append({file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())})
    assert len(found[0]) == 6 * (len(FORMATS) + 1)
    assert found[0] == found[1]
