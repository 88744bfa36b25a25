"""Masks reach the layers that need them in every file, whatever stands between: padded steps count for nothing."""

import functools

import numpy as np
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.frozen_graph import tensor_names
from keras_compress.export.registry import registered_formats
from tests.zoo import sqnr

layers = keras.layers
FILES = {"frozen_graph": "m.pb", "saved_model": "m", "onnx": "m.onnx", "openvino": "m.xml", "tflite": "m.tflite"}

SOURCES = {
    "embedding": lambda words, numbers: layers.Embedding(20, 8, mask_zero=True)(words),
    "masking": lambda words, numbers: layers.Masking(0.0)(numbers),
}
HEADS = {
    "dense": lambda x: layers.GlobalAveragePooling1D()(layers.Dense(6)(x)),
    "dense_relu": lambda x: layers.GlobalAveragePooling1D()(layers.Dense(6, activation="relu")(x)),
    "einsum": lambda x: layers.GlobalAveragePooling1D()(layers.EinsumDense("abc,cd->abd", (None, 6))(x)),
    "normalized": lambda x: layers.GlobalAveragePooling1D()(layers.LayerNormalization()(layers.Dense(6)(x))),
    "batch_normalized": lambda x: layers.GlobalAveragePooling1D()(layers.BatchNormalization()(layers.Dense(6)(x))),
    "sum": lambda x: layers.GlobalAveragePooling1D()(layers.Add()([layers.Dense(8)(x), x])),
    "joined": lambda x: layers.GlobalAveragePooling1D()(layers.Concatenate()([layers.Dense(4)(x), x])),
    "twice": lambda x: layers.GlobalAveragePooling1D()(layers.Dense(6)(layers.Dropout(0.5)(layers.Dense(8)(x)))),
    "lstm": lambda x: layers.LSTM(5)(layers.Dense(6)(x)),
    "gru_sequences": lambda x: layers.GlobalAveragePooling1D()(layers.GRU(5, return_sequences=True)(x)),
    "attention": lambda x: layers.GlobalAveragePooling1D()(layers.MultiHeadAttention(2, 4)(x, x)),
}


def masked_model(heads):
    words, numbers = keras.Input((10,), dtype="int32", name="words"), keras.Input((10, 8), name="numbers")
    outputs = [
        layers.Dense(3, name=f"{source}_{head}")(HEADS[head](SOURCES[source](words, numbers)))
        for source in SOURCES
        for head in heads
    ]
    return keras.Model([words, numbers], outputs)


def padded(samples, seed=0):
    """Return samples whose last steps are padding, and what stands in the padding of the second input is zero too."""
    random = np.random.default_rng(seed)
    words = random.integers(1, 20, (samples, 10)).astype(np.int32)
    numbers = random.normal(size=(samples, 10, 8)).astype(np.float32)
    lengths = random.integers(2, 11, samples)
    for row, length in enumerate(lengths):
        words[row, length:], numbers[row, length:] = 0, 0
    return words, numbers


LOOPS = ("lstm", "gru_sequences")


@functools.lru_cache(1)
def quantized(heads):
    """Return a model with these heads, quantized; no test changes it."""
    return kc.quantize(masked_model(heads), padded(32))


def check(name, heads, folder):
    """Export a model with these heads, and compare what the file computes on other samples with the compressed model."""
    compressed = quantized(tuple(heads))
    path = kc.export_model(compressed, folder / FILES[name], strict=False).path
    inputs = padded(8, seed=1)
    expected = compressed(list(inputs), training=False)
    received = registered_formats()[name].load(path, tensor_names(compressed), 0)(list(inputs))
    found = {
        output: sqnr(one, other) for output, one, other in zip(compressed.output_names, expected, received, strict=True)
    }
    least = 18 if name == "tflite" else 40  # int8 values that a layer normalization makes larger
    assert {output: ratio for output, ratio in found.items() if ratio < least} == {}


@pytest.mark.first
def test_padding_counts_for_nothing_behind_one_layer_and_behind_several(tmp_path):
    check("onnx", ["dense_relu", "sum"], tmp_path)


@pytest.mark.extended
@pytest.mark.parametrize("name", FILES)
def test_padding_counts_for_nothing(name, tmp_path):
    check(name, [head for head in HEADS if head not in LOOPS], tmp_path)


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore:TensorFlow Lite runs loops")
@pytest.mark.parametrize("name", FILES)
def test_padding_counts_for_nothing_in_loops_over_time(name, tmp_path):
    check(name, LOOPS, tmp_path)
