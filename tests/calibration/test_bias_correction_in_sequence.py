"""Sequential bias correction: in the quantized model every corrected layer has the mean it has in the float model."""

import numpy as np

from keras_compress import Dataset
from keras_compress._keras import keras
from keras_compress.calibration import correct_biases_in_sequence
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import CompressedLayer
from tests import zoo
from tests.calibration.corrections import at, means, numbers, quantized, uneven

layers = keras.layers

#: Coarse activations too, whose shift only this correction can see.
COARSE = {"bits": 3, "activations": {"bits": 4, "mode": "asymmetric"}}


def assert_means_kept(model, corrected, uncorrected, names, inputs, tolerance=1e-4):
    for name in names:
        expected, received, before = (
            means(at(m, name, inputs), m.get_layer(name).output.shape[-1:]) for m in (model, corrected, uncorrected)
        )
        size = np.abs(expected).max()
        assert np.abs(before - expected).max() > 20 * tolerance * size, name
        np.testing.assert_allclose(received, expected, rtol=0, atol=tolerance * size, err_msg=name)


def chain():
    """Convolutions of every kind in a row; those without a bias have a normalization behind them."""
    image = keras.Input((8, 8, 3), name="image")
    x = layers.ReLU(name="first_relu")(layers.Conv2D(4, 3, name="first")(image))
    x = layers.DepthwiseConv2D(3, use_bias=False, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.ReLU(name="norm_relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2DTranspose(5, 2, 2, name="transposed")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(layers.ReLU(name="transposed_relu")(x))
    return zoo._randomized(keras.Model(image, layers.Dense(3, name="out")(x), name="chain"))


def test_the_mean_of_every_layer_is_kept_behind_quantized_layers_and_nothing_else_changes():
    model, x = chain(), uneven((8, 8, 3))
    corrected, uncorrected = (quantized(model, x, bias=bias, **COARSE) for bias in ("sequential", None))
    assert_means_kept(model, corrected, uncorrected, ["first", "norm", "transposed", "out"], x)
    before, after = numbers(uncorrected), numbers(corrected)
    changed = {key for key, value in after.items() if not np.array_equal(value, before[key])}
    assert changed == {("first", "bias"), ("norm", "moving_mean"), ("transposed", "bias"), ("out", "bias")}


def test_the_mean_of_layers_around_a_sum_and_in_nested_models_is_kept():
    inner = keras.Input((6, 6, 3), name="inner_image")
    stem = layers.Conv2D(4, 3, padding="same", name="stem")(inner)
    body = layers.Conv2D(4, 3, padding="same", name="body")(layers.ReLU(name="relu")(stem))
    backbone = keras.Model(inner, layers.Add(name="sum")([stem, body]), name="backbone")
    image = keras.Input((6, 6, 3), name="image")
    model = keras.Model(image, layers.Dense(3, name="out")(layers.Flatten(name="flat")(backbone(image))))
    x = uneven((6, 6, 3))
    corrected, uncorrected = (quantized(model, x, bias=bias, **COARSE) for bias in ("sequential", None))
    assert_means_kept(*(m.get_layer("backbone") for m in (model, corrected, uncorrected)), ["stem", "body"], x)
    assert_means_kept(model, corrected, uncorrected, ["out"], x)
    wrapped = [layer.layer for _, layer in leaf_layers(corrected) if isinstance(layer, CompressedLayer)]
    assert len(wrapped) == 3
    assert all("call" not in vars(layer) for layer in wrapped)


def test_a_shared_layer_keeps_its_mean_over_all_calls():
    x = [uneven((4,)), 3 + uneven((4,), seed=1)]
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    shared = layers.Dense(5, name="shared")
    model = keras.Model([first, second], layers.Concatenate(axis=1, name="all")([shared(first), shared(second)]))
    found = {m: quantized(model, tuple(x), bias=m, **COARSE) for m in ("sequential", None)}
    expected, corrected, before = (
        m(x).numpy().reshape(-1, 2, 5).mean(axis=(0, 1)) for m in (model, found["sequential"], found[None])
    )
    assert np.abs(before - expected).max() > 0.01
    np.testing.assert_allclose(corrected, expected, atol=1e-4)


def test_inputs_that_a_layer_does_not_read_make_no_difference():
    model = zoo.dicts()
    x = zoo.samples(model, 37)
    corrected, uncorrected = (quantized(model, x, bias=bias, **COARSE) for bias in ("sequential", None))
    for name in ("score", "rank"):
        expected, received, before = (m(x)[name].numpy().mean(axis=0) for m in (model, corrected, uncorrected))
        assert np.abs(before - expected).max() > 0.002
        np.testing.assert_allclose(received, expected, atol=1e-4)


def test_no_more_samples_than_asked_for_count():
    model, x = zoo.convolution(), uneven((8, 8, 3))
    corrected = quantized(model, x, 33, bias="sequential", **COARSE)
    for name in ("conv", "out"):
        expected, received, too_many = (
            means(at(m, name, x[:count]), (1,)) for m, count in ((model, 33), (corrected, 33), (corrected, 37))
        )
        np.testing.assert_allclose(received, expected, atol=1e-4 * np.abs(expected).max())
        assert not np.allclose(too_many, expected, atol=1e-2 * np.abs(expected).max())


def test_quantized_activations_are_corrected_too_which_the_fast_way_leaves():
    model, x = zoo.dense(), uneven((4,), 64)
    settings = {"bits": 8, "activations": {"bits": 3}}
    errors = {}
    for bias in ("fast", "sequential"):
        found = quantized(model, x, bias=bias, **settings)
        errors[bias] = np.abs(found(x).numpy().mean(axis=0) - model(x).numpy().mean(axis=0)).max()
    assert errors["sequential"] < 0.1 * errors["fast"]


def test_without_layers_no_data_are_read():
    def unreadable():
        raise AssertionError("read")

    model = zoo.dense()
    correct_biases_in_sequence(model, model, [], Dataset(unreadable), 8)


def test_layers_behind_a_memory_keep_the_mean_they_have_over_the_whole_series():
    x = keras.Input(batch_shape=(2, 3, 2), name="x")
    hidden = layers.GRU(6, stateful=True, recurrent_initializer="ones", name="rnn")(layers.Dense(3, name="first")(x))
    model = keras.Model(x, layers.Dense(3, name="out")(hidden))
    data = uneven((3, 2), 16)
    corrected, uncorrected = (quantized(model, data, bias=bias, **COARSE) for bias in ("sequential", None))

    def mean(made):
        made.reset_states()
        outputs = np.concatenate([made(data[at : at + 2]) for at in range(0, 16, 2)])
        return outputs.mean(axis=0)

    expected, received, before = map(mean, (model, corrected, uncorrected))
    assert np.abs(before - expected).max() > 20 * np.abs(received - expected).max()
    np.testing.assert_allclose(received, expected, atol=1e-4 * np.abs(expected).max())
