"""Frozen linear layers in front of a logarithm, a root, a power or a divisor are preprocessing, and frozen backbones are not."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.graph import ModelGraph, take
from keras_compress.graph.frozen_preprocessing import frozen_preprocessing
from keras_compress.graph.integer_computation import quantizers_before_layers

layers = keras.layers
CONFIG = {"compression": {"algorithm": "quantization"}}
SIGNAL = (12, 8)


def dense(name, units=8, **options):
    return layers.Dense(units, use_bias=False, trainable=False, name=name, **options)


def convolution(name, **options):
    return layers.Conv1D(8, 3, padding="same", use_bias=False, trainable=False, name=name, **options)


def power(x):
    real, imaginary = convolution("a")(x), convolution("b")(x)
    return real * real + imaginary * imaginary


def nested(x, make=lambda x: dense("b")(tf.square(dense("a")(x)))):
    inner = keras.Input(SIGNAL)
    model = keras.Model(inner, make(inner), name="front")
    model.trainable = False
    return model(x)


def sequential(x):
    model = keras.Sequential(
        [keras.Input(SIGNAL), layers.Dense(8, name="a"), layers.Conv1D(8, 3, name="b")], name="front"
    )
    model.trainable = False
    return model(x)


def log(x):
    return tf.math.log(tf.abs(x) + 1e-6)


#: By name the layers of the preprocessing, and what computes with them up to the trained network.
PREPROCESSING = {
    "a mel matrix": ({"a"}, lambda x: log(dense("a")(x))),
    "a mel matrix with a bias": ({"a"}, lambda x: log(layers.Dense(8, trainable=False, name="a")(x))),
    "a Fourier transform": ({"a", "b"}, lambda x: log(power(x))),
    "a Fourier transform and a mel matrix": ({"a", "b", "mel"}, lambda x: log(dense("mel")(power(x)))),
    "a transform by an operator": ({"a"}, lambda x: log(dense("a", 5)(tf.abs(tf.signal.dct(x))))),
    "a constant matrix before it": ({"a"}, lambda x: log(dense("a")(tf.matmul(x, tf.eye(8))))),
    "scaled inputs": ({"a"}, lambda x: log(dense("a")(layers.Rescaling(0.1)(x)))),
    "normalized inputs": ({"a"}, lambda x: log(dense("a")(layers.Normalization(mean=0.5, variance=2.0)(x)))),
    "a frozen model": ({"front/a", "front/b"}, lambda x: log(nested(x))),
    "a frozen Sequential model": ({"front/a", "front/b"}, lambda x: log(sequential(x))),
    "a frozen model with the logarithm": ({"front/a"}, lambda x: nested(x, lambda y: log(dense("a")(y)))),
    "one matrix for each step": ({"a"}, lambda x: log(layers.TimeDistributed(dense("inside"), name="a")(x))),
    "an einsum": ({"a"}, lambda x: log(layers.EinsumDense("abc,cd->abd", (None, 5), trainable=False, name="a")(x))),
    "one matrix for two signals": ({"a"}, lambda x: (lambda a: log(a(x)) - log(a(x * x)))(dense("a"))),
    "moved values": ({"a"}, lambda x: log(layers.Permute((2, 1))(dense("a")(x)))),
    "a root": ({"a"}, lambda x: tf.sqrt(tf.abs(dense("a")(x)))),
    "an inverse root": ({"a"}, lambda x: tf.math.rsqrt(tf.abs(dense("a")(x)) + 1e-3)),
    "a power": ({"a"}, lambda x: tf.pow(tf.abs(dense("a")(x)), 0.3)),
    "a divisor": (
        {"a"},
        lambda x: (lambda y: y / (tf.reduce_max(tf.abs(y), [1, 2], keepdims=True) + 1e-6))(dense("a")(x)),
    ),
}


def normalized(x):
    return x / tf.sqrt(tf.reduce_sum(tf.square(x), -1, keepdims=True) + 1e-6)


def block(x, name, filters=8):
    y = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_first")(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_second")(y)
    return layers.ReLU()(layers.Add()([x, layers.BatchNormalization()(y)]))


def resnet_like():
    image = keras.Input((16, 16, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, name="stem", use_bias=False)(image)))
    return keras.Model(image, layers.GlobalAveragePooling2D()(block(block(x, "one"), "two")), name="backbone")


def vgg_like(apart=False):
    x = image = keras.Input((16, 16, 3))
    for number in range(3):
        x = layers.Conv2D(8, 3, activation=None if apart else "relu", name=f"conv{number}")(x)
        x = layers.ReLU()(x) if apart else x
    return keras.Model(image, layers.Flatten()(layers.MaxPooling2D()(x)), name="backbone")


def with_frozen_backbone(backbone, head=lambda x: x):
    backbone.trainable = False
    image = keras.Input((16, 16, 3))
    x = normalized(head(backbone(image)))
    return keras.Model(image, layers.Dense(4, name="head")(x))


#: By name models without preprocessing.
NETWORKS = {
    "ResNet-like": lambda: with_frozen_backbone(resnet_like()),
    "VGG-like": lambda: with_frozen_backbone(vgg_like()),
    "VGG-like, activation functions apart": lambda: with_frozen_backbone(vgg_like(apart=True)),
    "a frozen dense layer on a frozen backbone": lambda: with_frozen_backbone(resnet_like(), dense("embedding")),
    "a shallow backbone": lambda: on_signal(
        lambda x: normalized(layers.ReLU()(layers.BatchNormalization(trainable=False)(convolution("a")(x))))
    ),
    "trained layers": lambda: on_signal(lambda x: log(layers.Dense(8, name="a")(x))),
    "a frozen layer behind a trained one": lambda: on_signal(lambda x: log(dense("b")(layers.Dense(8, name="a")(x)))),
    "an activation function": lambda: on_signal(lambda x: log(dense("a", activation="relu")(x))),
    "an activation function for each step": lambda: on_signal(
        lambda x: log(layers.TimeDistributed(dense("inside", activation="relu"), name="a")(x))
    ),
    "an activation function between": lambda: on_signal(lambda x: log(dense("b")(tf.nn.gelu(dense("a")(x))))),
    "a normalization between": lambda: on_signal(
        lambda x: log(dense("b")(layers.BatchNormalization(trainable=False)(dense("a")(x))))
    ),
    "frozen layers without a logarithm": lambda: on_signal(lambda x: dense("b")(tf.square(dense("a")(x)))),
    "a layer that a network reads too": lambda: on_signal(
        lambda x: (lambda a: log(a(x)) + a(layers.Dense(8, name="b")(x)))(dense("a"))
    ),
    "an embedding with trained positions": lambda: on_signal(
        lambda x: normalized(dense("a")(x) + tf.Variable(tf.ones((12, 8)), name="positions"))
    ),
}


def on_signal(steps):
    """A model whose signal goes through ``steps`` into a trained network."""
    signal = keras.Input(SIGNAL, name="signal")
    x = steps(signal)
    x = layers.Conv1D(4, 3, activation="relu", padding="same", name="conv")(x)
    return keras.Model(signal, layers.Dense(3, name="head")(layers.GlobalAveragePooling1D()(x)))


def found(model):
    return frozen_preprocessing(ModelGraph(take(model)))


@pytest.mark.parametrize("case", PREPROCESSING)
def test_frozen_linear_layers_on_the_way_into_such_a_function(case):
    expected, steps = PREPROCESSING[case]
    assert found(on_signal(steps)) == expected


@pytest.mark.parametrize("case", NETWORKS)
def test_networks_have_no_preprocessing(case):
    assert found(NETWORKS[case]()) == frozenset()


@pytest.mark.parametrize("case", NETWORKS)
def test_networks_are_compressed_as_a_whole(case):
    model = NETWORKS[case]()
    rows = kc.coverage(model, {**CONFIG, "strict": True})
    assert rows.compressed_share == 1.0


@pytest.mark.parametrize("case", PREPROCESSING)
def test_no_quantizer_is_on_preprocessing_and_the_network_behind_has_all_of_its_own(case):
    expected, steps = PREPROCESSING[case]
    model = on_signal(steps)
    data = np.random.RandomState(0).normal(size=(16, *SIGNAL)).astype(np.float32)
    before = quantizers_before_layers(ModelGraph(take(kc.quantize(model, data))))
    assert expected.isdisjoint(before)
    assert before["conv"]
    assert before["head"]


def test_it_is_named_with_the_reason():
    model = on_signal(PREPROCESSING["a Fourier transform and a mel matrix"][1])
    rows = {row.layer: row for row in kc.coverage(model, CONFIG)}
    for layer in ("a", "b", "mel"):
        assert (rows[layer].compressed_by, rows[layer].explained) == ("", False)
        assert "frozen linear preprocessing in front of a logarithm" in rows[layer].reason
    assert rows["conv"].compressed_by == "quantization: 8 bits"


def test_strict_refuses_it_until_it_is_ignored():
    model = on_signal(PREPROCESSING["a mel matrix"][1])
    with pytest.raises(kc.UnsupportedModelError, match="a: kernel: frozen linear preprocessing in front of"):
        kc.coverage(model, {**CONFIG, "strict": True})
    ignoring = {"compression": {"algorithm": "quantization", "ignored_scopes": ["a"]}, "strict": True}
    assert kc.coverage(model, ignoring).unexplained == ()


@pytest.mark.parametrize("key", ["algorithm", "root", "weights"])
def test_a_scope_that_asks_for_it_wins(key):
    model = on_signal(PREPROCESSING["a mel matrix"][1])
    scopes = {"target_scopes": ["a", "conv", "head"]}
    settings = {"algorithm": "quantization"}
    settings |= scopes if key == "algorithm" else {"weights": scopes} if key == "weights" else {}
    rows = kc.coverage(model, {"compression": settings, **(scopes if key == "root" else {}), "strict": True})
    assert [row.compressed_by for row in rows] == ["quantization: 8 bits"] * 3


def tones(count, seed):
    """Signals of a loud low tone and a quiet one, whose frequency is the class, 40 dB and more below it."""
    random, time = np.random.RandomState(seed), np.arange(512) / 64
    classes = random.randint(8, size=count)
    phases = random.uniform(0, 2 * np.pi, (2, count, 1))
    loud = 10 ** random.uniform(-1, 1, (count, 1)) * np.sin(2 * np.pi * 3 * time + phases[0])
    quiet = 10 ** random.uniform(-2, -1.5, (count, 1)) * np.sin(
        2 * np.pi * (10 + 2.5 * classes[:, np.newaxis]) * time + phases[1]
    )
    return (loud + quiet + 2e-3 * random.normal(size=(count, 512))).astype(np.float32), classes


def keyword_spotter():
    """A spectrogram as two frozen convolutions, frozen bands, a logarithm, and a small trained network."""
    signal = keras.Input((512,), name="signal")
    angles = 2 * np.pi / 64 * np.outer(np.arange(64), np.arange(33))
    window = np.hanning(64)[:, np.newaxis]
    bands = np.maximum(0, 1 - np.abs(np.arange(33)[:, np.newaxis] / 1.6 - np.arange(20)))
    parts = []
    for name, function in (("real", np.cos), ("imaginary", np.sin)):
        layer = layers.Conv1D(33, 64, strides=32, use_bias=False, trainable=False, name=name)
        parts.append(layer(layers.Reshape((512, 1))(signal)))
        layer.set_weights([(window * function(angles))[:, np.newaxis]])
    mel = dense("mel", 20)
    x = tf.math.log(mel(parts[0] * parts[0] + parts[1] * parts[1]) + 1e-6)
    mel.set_weights([bands])
    x = layers.BatchNormalization()(layers.Conv1D(16, 3, use_bias=False)(x))
    x = layers.Conv1D(16, 3, activation="relu")(layers.ReLU()(x))
    return keras.Model(signal, layers.Dense(8)(layers.GlobalAveragePooling1D()(x)))


@pytest.mark.first
def test_a_network_behind_frozen_signal_processing_keeps_its_accuracy():
    keras.utils.set_random_seed(0)
    images, labels = tones(1500, seed=0)
    unseen, truth = tones(500, seed=1)
    model = keyword_spotter()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss)
    model.fit(images, labels, epochs=5, verbose=0)

    def accuracy(one):
        return np.mean(one.predict(unseen, verbose=0).argmax(-1) == truth)

    quantized = kc.quantize(model, images[:300])
    assert accuracy(model) > 0.8
    assert accuracy(quantized) >= accuracy(model) - 0.02
