"""The 61 one-layer models that a peer was tried on: 40 of them it refused. Each entry maps a name to a small model.

A model is made by a function of no arguments; its input data are drawn to fit by the test. ``BRANCH_MODELS`` hold the same models as
branches of one model per kind of input, so that what costs much is done once for all of them.
"""

import functools
import re

import tensorflow as tf

from keras_compress._keras import keras

layers = keras.layers

IMAGE, SEQUENCE, VOLUME, VECTOR = (8, 8, 4), (10, 4), (6, 6, 6, 2), (6,)


def _stack(shape, *stack):
    def make():
        x = inputs = keras.Input(shape, name="x")
        for layer in stack:
            x = (
                layer(x)
                if not isinstance(layer, keras.layers.Layer)
                else type(layer).from_config(layer.get_config())(x)
            )
        return keras.Model(inputs, x)

    return make


def _merge(layer):
    def make():
        inputs = keras.Input(IMAGE, name="x")
        branches = [layers.Conv2D(4, 3, padding="same", name=name)(inputs) for name in ("one", "two")]
        return keras.Model(inputs, layer()(branches))

    return make


def _after_convolution(*stack):
    return _stack(IMAGE, layers.Conv2D(4, 3, padding="same", name="conv"), *stack)


def _attention():
    inputs = keras.Input(SEQUENCE, name="x")
    return keras.Model(inputs, layers.MultiHeadAttention(2, 3, name="attention")(inputs, inputs))


def _embedding():
    inputs = keras.Input((5,), dtype="int32", name="x")
    return keras.Model(inputs, layers.Dense(3, name="dense")(layers.Embedding(7, 4, name="embedding")(inputs)))


def _normalization():
    inputs = keras.Input(IMAGE, name="x")
    normalization = layers.Normalization(mean=[0.1] * 4, variance=[2.0] * 4)
    return keras.Model(inputs, layers.Conv2D(3, 3, name="conv")(normalization(inputs)))


def _bn_after_add():
    inputs = keras.Input(IMAGE, name="x")
    total = layers.Add()([layers.Conv2D(4, 1, name="conv")(inputs), inputs])
    return keras.Model(inputs, layers.BatchNormalization()(total))


def _operator(function):
    return _after_convolution(function, layers.Conv2D(3, 1, name="after"))


ONE_LAYER_MODELS = {
    "Conv2D": _stack(IMAGE, layers.Conv2D(3, 3)),
    "DepthwiseConv2D": _stack(IMAGE, layers.DepthwiseConv2D(3, depth_multiplier=2)),
    "SeparableConv2D with bias": _stack(IMAGE, layers.SeparableConv2D(5, 3)),
    "SeparableConv2D without bias": _stack(IMAGE, layers.SeparableConv2D(5, 3, use_bias=False)),
    "Conv2DTranspose": _stack(IMAGE, layers.Conv2DTranspose(3, 3, 2)),
    "Conv2DTranspose BatchNormalization ReLU": _stack(
        IMAGE, layers.Conv2DTranspose(3, 3, 2), layers.BatchNormalization(), layers.ReLU()
    ),
    **{
        f"Dense {name}": _stack(VECTOR, layers.Dense(5, name))
        for name in ("linear", "sigmoid", "tanh", "swish", "gelu")
    },
    "Conv2D BatchNormalization": _after_convolution(layers.BatchNormalization()),
    "Dense BatchNormalization": _stack(VECTOR, layers.Dense(5), layers.BatchNormalization()),
    "Add": _merge(layers.Add),
    "Concatenate": _merge(layers.Concatenate),
    "AveragePooling2D": _after_convolution(layers.AveragePooling2D()),
    "UpSampling2D": _after_convolution(layers.UpSampling2D()),
    "LeakyReLU": _after_convolution(layers.LeakyReLU()),
    "Activation swish": _after_convolution(layers.Activation("swish")),
    "GlobalMaxPooling2D": _after_convolution(layers.GlobalMaxPooling2D()),
    "ZeroPadding2D": _after_convolution(layers.ZeroPadding2D()),
    "Conv1D": _stack(SEQUENCE, layers.Conv1D(3, 3)),
    "Conv3D": _stack(VOLUME, layers.Conv3D(3, 3)),
    "SeparableConv1D": _stack(SEQUENCE, layers.SeparableConv1D(5, 3)),
    "MaxPooling1D": _stack(SEQUENCE, layers.Conv1D(3, 3), layers.MaxPooling1D()),
    "UpSampling1D": _stack(SEQUENCE, layers.Conv1D(3, 3), layers.UpSampling1D()),
    "BatchNormalization first": _stack(IMAGE, layers.BatchNormalization(), layers.Conv2D(3, 3)),
    "BatchNormalization after Add": _bn_after_add,
    "BatchNormalization after Conv2D relu": _stack(
        IMAGE, layers.Conv2D(3, 3, activation="relu"), layers.BatchNormalization()
    ),
    "Multiply": _merge(layers.Multiply),
    "Subtract": _merge(layers.Subtract),
    "Average": _merge(layers.Average),
    "Maximum": _merge(layers.Maximum),
    "Dot": _merge(lambda: layers.Dot(axes=-1)),
    "LSTM": _stack(SEQUENCE, layers.LSTM(5)),
    "GRU": _stack(SEQUENCE, layers.GRU(5)),
    "Bidirectional": _stack(SEQUENCE, layers.Bidirectional(layers.LSTM(5))),
    "TimeDistributed": _stack(SEQUENCE, layers.TimeDistributed(layers.Dense(5))),
    "Embedding": _embedding,
    "MultiHeadAttention": _attention,
    "LayerNormalization": _after_convolution(layers.LayerNormalization()),
    "GroupNormalization": _after_convolution(layers.GroupNormalization(2)),
    "UnitNormalization": _after_convolution(layers.UnitNormalization()),
    "PReLU": _after_convolution(layers.PReLU(shared_axes=[1, 2])),
    "ELU": _after_convolution(layers.ELU()),
    "Dense elu": _stack(VECTOR, layers.Dense(5, "elu")),
    "hard_sigmoid": _after_convolution(layers.Activation("hard_sigmoid")),
    "Rescaling": _stack(IMAGE, layers.Rescaling(1 / 255), layers.Conv2D(3, 3)),
    "Normalization": _normalization,
    "Resizing": _stack(IMAGE, layers.Resizing(6, 6), layers.Conv2D(3, 3)),
    "RandomFlip": _stack(IMAGE, layers.RandomFlip(seed=1), layers.Conv2D(3, 3)),
    "GaussianNoise": _after_convolution(layers.GaussianNoise(0.1)),
    "RepeatVector": _stack(VECTOR, layers.Dense(5), layers.RepeatVector(3)),
    "Masking": _stack(SEQUENCE, layers.Masking(), layers.LSTM(5)),
    "LocallyConnected2D": _stack(IMAGE, layers.LocallyConnected2D(3, 3)),
    "Lambda": _operator(layers.Lambda(lambda x: x * 2.0)),
    "x + 3": _operator(lambda x: x + 3.0),
    "tf.nn.relu6": _operator(tf.nn.relu6),
    "tf.reduce_mean": _operator(lambda x: tf.reduce_mean(x, axis=[1, 2], keepdims=True)),
    "slicing": _operator(lambda x: x[:, :, :, :2]),
    "tf.concat": _operator(lambda x: tf.concat([x, x * 0.5], axis=-1)),
}


@functools.cache
def _made_once(name):
    return ONE_LAYER_MODELS[name]()


def branches_of(shape, dtype="float32"):
    """Return the names of the one-layer models with such an input."""
    models = {name: _made_once(name) for name in ONE_LAYER_MODELS}
    return [name for name, model in models.items() if (model.input.shape[1:], model.input.dtype) == (shape, dtype)]


def _branches(shape, dtype="float32"):
    def make():
        inputs = keras.Input(shape, dtype=dtype, name="x")
        outputs = []
        for name in branches_of(shape, dtype):
            model = _made_once(name)
            branch = keras.Model(model.input, model.output, name=re.sub(r"\W+", "_", name))
            outputs.append(branch(inputs))
        return keras.Model(inputs, outputs)

    return make


INPUTS = {
    "images": (IMAGE, "float32"),
    "sequences": (SEQUENCE, "float32"),
    "volumes": (VOLUME, "float32"),
    "vectors": (VECTOR, "float32"),
    "words": ((5,), "int32"),
}
BRANCH_MODELS = {f"branches of {kind}": _branches(*given) for kind, given in INPUTS.items()}
