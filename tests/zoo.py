"""Tiny models of every kind the package has to cope with. Each function returns a new model with random numbers in it.

``MODELS`` names them all, for tests that must hold for every kind.
"""

import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import create_compressed_model, register_default_init_args
from keras_compress._keras import keras
from keras_compress.graph import take
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer, SparsityMask, weight_owner
from tests.levels import levels

layers = keras.layers


def dense(width=8):
    """Sequential, Dense layers only."""
    return _randomized(
        keras.Sequential(
            [keras.Input((4,), name="x"), layers.Dense(width, "relu", name="hidden"), layers.Dense(3, name="out")],
            name="dense_net",
        )
    )


def convolution():
    """Sequential: Conv-BN-ReLU, pooling, Dense."""
    stack = [
        keras.Input((8, 8, 3), name="image"),
        layers.Conv2D(4, 3, name="conv"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(name="relu"),
        layers.MaxPooling2D(name="pool"),
        layers.Flatten(name="flat"),
        layers.Dense(3, name="out"),
    ]
    return _randomized(keras.Sequential(stack, name="convolution_net"))


def deferred():
    """Sequential without an Input, built by its input shape."""
    model = keras.Sequential([layers.Dense(8, "relu", name="hidden"), layers.Dense(3, name="out")], name="deferred_net")
    model.build((None, 4))
    return _randomized(model)


def residual():
    """Functional: Conv-BN-ReLU twice, with a sum around the second."""
    image = keras.Input((6, 6, 3), name="image")
    stem = layers.ReLU(name="stem_relu")(
        layers.BatchNormalization(name="stem_norm")(layers.Conv2D(4, 3, padding="same", name="stem")(image))
    )
    body = layers.BatchNormalization(name="body_norm")(layers.Conv2D(4, 3, padding="same", name="body")(stem))
    total = layers.ReLU(name="sum_relu")(layers.Add(name="sum")([stem, body]))
    pooled = layers.GlobalAveragePooling2D(name="pool")(total)
    return _randomized(keras.Model(image, layers.Dense(3, name="out")(pooled), name="residual_net"))


def concatenation():
    """Functional: two convolutions of one image, joined, and a convolution of both."""
    image = keras.Input((6, 6, 3), name="image")
    left = layers.ReLU(name="left_relu")(layers.Conv2D(2, 1, name="left")(image))
    right = layers.Conv2D(3, 1, name="right")(image)
    joined = layers.Concatenate(name="join")([left, right])
    out = layers.Conv2D(2, 1, name="after")(joined)
    return _randomized(keras.Model(image, out, name="concatenation_net"))


def shared_layer():
    """Functional: two inputs through the same Dense layer."""
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    shared = layers.Dense(5, "relu", name="shared")
    difference = layers.Subtract(name="difference")([shared(first), shared(second)])
    return _randomized(keras.Model([first, second], layers.Dense(2, name="out")(difference), name="shared_net"))


def dicts():
    """Functional: inputs and outputs are dicts."""
    inputs = {"wide": keras.Input((6,), name="wide"), "deep": keras.Input((3,), name="deep")}
    hidden = layers.Dense(4, "relu", name="hidden")(inputs["deep"])
    joined = layers.Concatenate(name="join")([inputs["wide"], hidden])
    outputs = {"score": layers.Dense(1, name="score")(joined), "rank": layers.Dense(2, name="rank")(joined)}
    return _randomized(keras.Model(inputs, outputs, name="dict_net"))


def two_outputs():
    """Functional: a list of two outputs of different depth."""
    x = keras.Input((4,), name="x")
    hidden = layers.Dense(6, "relu", name="hidden")(x)
    outputs = [layers.Dense(2, name="near")(x), layers.Dense(3, name="far")(hidden)]
    return _randomized(keras.Model(x, outputs, name="two_output_net"))


def nested():
    """Functional around a Functional backbone and a Sequential head."""
    inner = keras.Input((6, 6, 3), name="inner_image")
    features = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(inner)))
    backbone = keras.Model(inner, features, name="backbone")
    head = keras.Sequential(
        [keras.Input((4, 4, 4), name="features"), layers.Flatten(name="flat"), layers.Dense(3, name="dense")],
        name="head",
    )
    image = keras.Input((6, 6, 3), name="image")
    return _randomized(keras.Model(image, head(backbone(image)), name="nested_net"))


def transfer():
    """Functional: layers behind a nested model, which Keras numbers differently from those behind a layer."""
    inner = keras.Input((6, 6, 3), name="inner_image")
    features = layers.ReLU(name="relu")(layers.Conv2D(4, 3, name="conv")(inner))
    backbone = keras.Model(inner, features, name="backbone")
    image = keras.Input((6, 6, 3), name="image")
    pooled = layers.GlobalAveragePooling2D(name="pool")(backbone(image))
    return _randomized(keras.Model(image, layers.Dense(3, name="out")(pooled), name="transfer_net"))


def operators():
    """Functional with TensorFlow calls on symbolic tensors: arithmetic, slicing, tf functions, keyword arguments."""
    x = keras.Input((5,), name="x")
    hidden = layers.Dense(6, name="hidden")(x * 2.0 + 1.0)
    joined = tf.concat([tf.nn.relu(hidden)[:, 1:4], tf.math.subtract(x=hidden[:, :2], y=hidden[:, 4:])], axis=-1)
    return _randomized(keras.Model(x, layers.Dense(2, name="out")(joined), name="operator_net"))


def odd_convolutions():
    """Functional: depthwise, separable and transposed convolutions, whose channels lie on unusual axes."""
    image = keras.Input((6, 6, 3), name="image")
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(image)
    x = layers.SeparableConv2D(4, 3, name="separable")(x)
    x = layers.Conv2DTranspose(5, 2, strides=2, name="transposed")(x)
    return _randomized(keras.Model(image, x, name="odd_net"))


def recurrent():
    """Functional: integer inputs, a masked recurrent layer that no algorithm knows, and Dense."""
    words = keras.Input((5,), dtype="int32", name="words")
    x = layers.Embedding(10, 4, mask_zero=True, name="embedding")(words)
    x = layers.SimpleRNN(6, name="rnn")(x)
    return _randomized(keras.Model(words, layers.Dense(2, name="out")(x), name="recurrent_net"))


def slashed_names():
    """Functional whose layer names hold slashes, as in tf_keras.applications.MobileNetV3Small."""
    x = keras.Input((4,), name="x")
    hidden = layers.Dense(6, "relu", name="block/expand")(x)
    return _randomized(keras.Model(x, layers.Dense(2, name="block/project")(hidden), name="slashed_net"))


MODELS = {
    model.__name__: model
    for model in (
        dense,
        convolution,
        deferred,
        residual,
        concatenation,
        shared_layer,
        dicts,
        two_outputs,
        nested,
        transfer,
        operators,
        odd_convolutions,
        recurrent,
        slashed_names,
    )
}


#: For tests that must hold for every kind of model.
every_kind = pytest.mark.parametrize(
    "kind",
    levels(
        MODELS,
        first=["convolution", "residual", "shared_layer", "nested", "operators", "odd_convolutions", "recurrent"],
    ),
)


@functools.cache
def snapshot(kind):
    """Return the snapshot of a model of :data:`MODELS`; it is a value, so that tests share it."""
    return take(MODELS[kind]())


def samples(model, count=8, seed=0):
    """Return random inputs for ``model`` in the structure it is called with."""
    generator = np.random.default_rng(seed)

    def random(tensor):
        shape = (count, *tensor.shape[1:])
        if tensor.dtype.is_integer:
            return generator.integers(0, 10, shape).astype(tensor.dtype.as_numpy_dtype)
        return generator.normal(size=shape).astype(np.float32)

    return tf.nest.map_structure(random, model.input)


def normal(*shape):
    """Return a tensor of normally distributed numbers, the same for each shape."""
    return tf.constant(np.random.RandomState(1).normal(size=shape).astype(np.float32))


def sqnr(expected, received):
    """Return the power of an array over that of its difference from another one, in dB; infinite if they are equal."""
    expected, received = np.asarray(expected, np.float64), np.asarray(received, np.float64)
    noise = np.mean((expected - received) ** 2)
    return 10 * np.log10(np.mean(expected**2) / noise) if noise else np.inf


def config(model, algorithm="quantization", samples_count=16, **settings):
    """Return a configuration of one algorithm with random data to initialize it from, and no other defaults changed."""
    values = {"compression": {"algorithm": algorithm, **settings}}
    return register_default_init_args(values, samples(model, samples_count, seed=99))


def compress(model, algorithm="quantization", **settings):
    """Return the controller and the compressed copy of ``model``, initialized from random data."""
    return create_compressed_model(model, config(model, algorithm, **settings))


@functools.cache
def compressed_once(kind):
    """Return what :func:`compress` returns for a model of :data:`MODELS`; for tests that do not change it, who share it."""
    return compress(MODELS[kind]())


def predict(model, inputs):
    """Return the outputs of ``model`` in inference mode as a flat list of arrays."""
    return [tensor.numpy() for tensor in tf.nest.flatten(model(inputs, training=False))]


def assert_same_predictions(first, second, inputs, **tolerance):
    """Check that two models give the same outputs: to the bit, or within ``rtol``/``atol``."""
    ours, theirs = predict(first, inputs), predict(second, inputs)
    assert len(ours) == len(theirs)
    for left, right in zip(ours, theirs, strict=True):
        if tolerance:
            np.testing.assert_allclose(left, right, **tolerance)
        else:
            np.testing.assert_array_equal(left, right)


def masked_weights(model):
    """Return for every weight with a mask, by ``(layer, weight)``: the float weight, what inference sees, what is kept."""
    return {
        (path, weight): (
            getattr(*weight_owner(layer.layer, weight)).numpy(),
            layer.compressed_weight(weight).numpy(),
            op.kept(),
        )
        for path, layer in leaf_layers(model)
        if isinstance(layer, CompressedLayer)
        for weight, op in layer.operations
        if isinstance(op, SparsityMask)
    }


def zeros(model):
    """Return how many of the weights with a mask are zero at inference, after a check that these are the masked ones."""
    count = 0
    for weight, seen, kept in masked_weights(model).values():
        np.testing.assert_array_equal(seen, np.where(kept, weight, 0))
        count += int(np.sum(~kept))
    return count


def _randomized(model):
    """Give biases and the numbers of batch normalization values that make a difference."""
    generator = np.random.default_rng(3)
    for variable in model.variables:
        name = variable.name.split("/")[-1]
        if name.startswith(("bias", "beta", "moving_mean")):
            variable.assign(generator.normal(scale=0.3, size=variable.shape))
        elif name.startswith(("gamma", "moving_variance")):
            variable.assign(generator.uniform(0.5, 1.5, size=variable.shape))
    return model
