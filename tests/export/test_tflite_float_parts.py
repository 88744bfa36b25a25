"""Averages and reversals in TensorFlow Lite are as fine as their own values ask for, not those that they are made of."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from tests.levels import levels

layers = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(128, 8, 8, 3)).astype(np.float32)
IMAGES[::60] *= 5

AVERAGES = {
    "global": lambda y: layers.GlobalAveragePooling2D()(y),
    "global, axes kept": lambda y: layers.GlobalAveragePooling2D(keepdims=True)(y),
    "windows": lambda y: layers.AveragePooling2D(4)(y),
    "mean": lambda y: tf.reduce_mean(y, [1, 2]),
    "mean of channels": lambda y: tf.reduce_mean(y, -1),
    "sequence": lambda y: layers.GlobalAveragePooling1D()(layers.Reshape((64, 4))(y)),
    "sequence, windows": lambda y: layers.AveragePooling1D(16)(layers.Reshape((64, 4))(y)),
    "two": lambda y: layers.GlobalAveragePooling2D()(layers.AveragePooling2D(2)(y)),
    "after a maximum": lambda y: layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(y)),
}
MADE = {
    "convolution": lambda x: layers.Conv2D(4, 3, padding="same")(x),
    "relu": lambda x: layers.Conv2D(4, 3, padding="same", activation="relu")(x),
    "sigmoid": lambda x: layers.Conv2D(4, 3, padding="same", activation="sigmoid")(x),
    "swish": lambda x: layers.Conv2D(4, 3, padding="same", activation="swish")(x),
    "depthwise": lambda x: layers.DepthwiseConv2D(3, padding="same")(x),
    "normalized": lambda x: layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x)),
}
READ = {
    "output": lambda p: p,
    "reshaped output": lambda p: layers.Flatten()(p),
    "scaled": lambda p: p * 3.0 + 1.0,
    "tanh": lambda p: layers.Activation("tanh")(p),
    "two readers": lambda p: layers.Concatenate()([layers.Flatten()(p), layers.Dense(2)(layers.Flatten()(p))]),
    "joined": lambda p: layers.Concatenate()([layers.Flatten()(p), layers.Flatten()(p) * 9.0]),
    "dense": lambda p: layers.Dense(3)(layers.Flatten()(p)),
}
CASES = [(average, "convolution", "output") for average in AVERAGES]
CASES += [("global", made, "output") for made in MADE if made != "convolution"]
CASES += [(average, "convolution", read) for average in ("global", "windows") for read in READ if read != "output"]


def compressed(build):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    return kc.quantize(keras.Model(image, build(image)), IMAGES)


@pytest.mark.parametrize(
    "case",
    levels(CASES, first=[("global", "convolution", "output"), ("windows", "convolution", "dense"), CASES[10]]),
)
def test_an_average_has_not_the_range_of_what_it_is_made_of(case, tmp_path):
    average, made, read = case
    model = compressed(lambda x: READ[read](AVERAGES[average](MADE[made](x))))
    report = kc.export_model(model, tmp_path / "model.tflite", data=IMAGES)
    # a function in integers has the rounding of its input, and a dense layer that of its own grid
    alone = read in ("output", "reshaped output", "scaled", "joined") and made not in ("sigmoid", "swish")
    assert report.comparison.steps <= (1.5 if alone else 3)


@pytest.mark.parametrize("io_type", levels(["int8", "uint8"], first=["int8"]))
def test_as_an_integer_output_it_has_a_range_of_its_own(io_type, tmp_path):
    model = compressed(lambda x: AVERAGES["global"](MADE["convolution"](x)))
    report = kc.export_model(model, tmp_path / "model.tflite", data=IMAGES, io_type=io_type)
    assert report.comparison.steps <= 1.5


FROM_FLOATS = {
    "average pooling": lambda y: layers.AveragePooling2D(4)(y),
    "bilinear": lambda y: tf.image.resize(y, (3, 3)),
    "global": lambda y: layers.GlobalAveragePooling2D(keepdims=True)(y),
}


@pytest.mark.extended
@pytest.mark.parametrize("move", levels(FROM_FLOATS, first=["average pooling"]))
def test_a_narrow_quantizer_behind_cuts_nothing_off_in_front(move, tmp_path):
    def build(x):
        return layers.Conv2D(2, 1)(FROM_FLOATS[move](tf.exp(layers.Conv2D(4, 1)(x) * 0.2)))

    report = kc.export_model(compressed(build), tmp_path / "model.tflite", data=IMAGES)
    assert report.problems == []
    assert report.comparison.sqnr > 40  # what is cut off leaves less than 20


@pytest.mark.extended
def test_a_reversal_keeps_the_numbers_in_front_of_a_wider_range(tmp_path):
    def build(x):
        y = layers.Flatten()(x)[:, :8]
        return layers.Dense(2)(layers.Concatenate()([tf.reverse(layers.Dense(4)(y), [-1]), layers.Dense(4)(y) * 50.0]))

    report = kc.export_model(compressed(build), tmp_path / "model.tflite", data=IMAGES)
    assert report.problems == []
