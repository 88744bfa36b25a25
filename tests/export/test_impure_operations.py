"""A layer that assigns a variable or draws numbers when it is called is exported if that changes nothing, or refused by name."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras

layers = keras.layers
IMAGES = np.random.RandomState(0).normal(size=(16, 6, 6, 3)).astype(np.float32)


class MaskedConvolution(layers.Layer):
    """A convolution whose kernel is masked in place whenever it is called."""

    def build(self, input_shape):
        self.conv = layers.Conv2D(4, 3, padding="same")
        self.conv.build(input_shape)
        self.mask = np.ones(self.conv.kernel.shape, np.float32)
        self.mask[2:] = 0

    def call(self, inputs):
        self.conv.kernel.assign(self.conv.kernel * self.mask)
        return self.conv(inputs)


class Counting(layers.Layer):
    """A layer whose output depends on how often it was called."""

    def build(self, input_shape):
        self.calls = self.add_weight("calls", (), trainable=False)

    def call(self, inputs):
        self.calls.assign_add(1.0)
        return inputs * self.calls


class Drawing(layers.Layer):
    def call(self, inputs):
        return inputs + keras.backend.random_normal(tf.shape(inputs))


def quantized(layer):
    inputs = keras.Input((6, 6, 3), name="x")
    model = keras.Model(inputs, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D()(layer(inputs))))
    return kc.quantize(model, IMAGES)


FORMATS = ["pb", "onnx", "xml", "tflite"]


@pytest.fixture(scope="module")
def masked():
    return quantized(MaskedConvolution(name="masked"))


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_assignment_that_changes_nothing_is_left_out(masked, suffix, tmp_path):
    report = kc.export_model(masked, tmp_path / f"model.{suffix}", data=IMAGES, strict=False)
    assert report.path.exists()
    assert report.comparison.sqnr > 40


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_assignment_that_changes_something_is_refused_by_name(suffix, tmp_path):
    model = quantized(Counting(name="counting"))
    before = model.get_weights()
    with pytest.raises(kc.ExportError, match=r"'counting' assigns a variable.*calls"):
        kc.export_model(model, tmp_path / f"model.{suffix}")
    assert list(tmp_path.iterdir()) == []
    for array, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_random_numbers_that_openvino_does_not_have_are_refused_by_name(tmp_path):
    with pytest.raises(kc.ExportError, match=r"'drawing' draws random numbers.*RandomStandardNormal.*training"):
        kc.export_model(quantized(Drawing(name="drawing")), tmp_path / "model.xml")


class MaskedInBranch(MaskedConvolution):
    """The same, inside of a branch of a condition."""

    def call(self, inputs):
        @tf.function
        def masked(images):
            if tf.reduce_max(images) > -1e6:
                self.conv.kernel.assign(self.conv.kernel * self.mask)
            return self.conv(images)

        return masked(inputs)


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_assignment_in_a_branch_is_left_out_too(suffix, tmp_path):
    model = quantized(MaskedInBranch(name="masked"))
    report = kc.export_model(model, tmp_path / f"model.{suffix}", data=IMAGES)
    assert report.comparison.sqnr > 25
