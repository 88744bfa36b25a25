"""Where the bias of a layer is: its own, or in the normalization behind it."""

import pytest

from keras_compress._keras import keras
from keras_compress.graph import ModelGraph, take
from keras_compress.graph.bias_carriers import BiasCarrier, bias_carriers
from tests import zoo
from tests.graph.chains import chain, conv

layers = keras.layers


def carriers(model):
    return bias_carriers(ModelGraph(take(model)))


def test_a_layer_carries_its_own_bias_whatever_is_behind_it():
    found = carriers(chain(conv(), layers.BatchNormalization(name="norm")))
    assert found == {"conv": BiasCarrier("conv", "kernel", "conv", "bias", 1)}


def test_the_normalization_behind_a_layer_without_a_bias_carries_it():
    found = carriers(chain(conv(use_bias=False), layers.Dropout(0.5), layers.BatchNormalization(name="norm")))
    assert found == {"conv": BiasCarrier("conv", "kernel", "norm", "moving_mean", -1)}


WITHOUT = {
    "nothing behind": [conv(use_bias=False)],
    "a rectifier between": [conv(use_bias=False), layers.ReLU(), layers.BatchNormalization()],
    "a fused activation": [conv(use_bias=False, activation="relu"), layers.BatchNormalization()],
    "pooling between": [conv(use_bias=False), layers.MaxPooling2D(), layers.BatchNormalization()],
    "another axis": [conv(use_bias=False), layers.BatchNormalization(axis=1)],
    "several kernels": [layers.SeparableConv2D(4, 3)],
    "a layer around a layer": [layers.Reshape((4, 48)), layers.TimeDistributed(layers.Dense(3))],
    "recurrent layers": [layers.Reshape((4, 48)), layers.LSTM(3)],
    "no kernel": [layers.LayerNormalization(), layers.BatchNormalization()],
}


@pytest.mark.parametrize("what", WITHOUT)
def test_layers_without_a_place_for_a_constant_have_no_carrier(what):
    assert carriers(chain(*WITHOUT[what])) == {}


def test_a_second_reader_forbids_the_normalization():
    x = keras.Input((8, 8, 3), name="x")
    y = conv(use_bias=False)(x)
    assert carriers(keras.Model(x, [layers.BatchNormalization(name="norm")(y), layers.ReLU(name="relu")(y)])) == {}


def test_a_normalization_of_two_layers_carries_no_bias():
    x = keras.Input((8, 8, 3), name="x")
    norm = layers.BatchNormalization(name="norm")
    both = [norm(conv(name, use_bias=False)(x)) for name in "ab"]
    assert carriers(keras.Model(x, both)) == {}


def test_layers_of_nested_models_have_carriers_inside():
    found = carriers(zoo.nested())
    assert set(found) == {"backbone/conv", "head/dense"}
    inner = keras.Input((8, 8, 3), name="inner")
    inside = keras.Model(inner, layers.BatchNormalization(name="norm")(conv(use_bias=False)(inner)), name="inside")
    assert carriers(chain(inside)) == {
        "inside/conv": BiasCarrier("inside/conv", "kernel", "inside/norm", "moving_mean", -1)
    }


def test_a_normalization_behind_a_nested_model_is_another_model():
    inner = keras.Input((8, 8, 3), name="inner")
    inside = keras.Model(inner, conv(use_bias=False)(inner), name="inside")
    assert carriers(chain(inside, layers.BatchNormalization(name="norm"))) == {}


def test_kernels_have_the_names_of_their_layers():
    model = chain(
        layers.DepthwiseConv2D(3, name="depthwise"),
        layers.Conv2DTranspose(4, 2, name="transposed"),
        layers.EinsumDense("abcd,de->abce", (None, None, 5), bias_axes="e", name="einsum"),
        layers.Dense(3, name="dense"),
    )
    weights = {path: carrier.weight for path, carrier in carriers(model).items()}
    assert weights == {"depthwise": "depthwise_kernel", "transposed": "kernel", "einsum": "kernel", "dense": "kernel"}


def test_a_layer_of_ones_own_is_no_convolution():
    class Conv2D(layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight("kernel", (3, 4))
            self.bias = self.add_weight("bias", (4,))

        def call(self, inputs):
            return inputs @ self.kernel * self.bias

    assert carriers(chain(Conv2D(name="own"))) == {}
