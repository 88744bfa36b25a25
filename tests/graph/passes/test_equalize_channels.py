"""Equalization leaves the function as it is, brings channels to equal ranges, and leaves alone what it would change."""

import itertools

import numpy as np
import pytest

from keras_compress._keras import keras
from keras_compress.graph import ModelGraph, build, take
from keras_compress.graph.passes.equalize_channels import EqualizedPair, equalize_channels, equalized_pairs
from tests import zoo
from tests.calibration.corrections import quantized

layers = keras.layers


def scattered(model, seed=3):
    """Give the output channels of all kernels, and normalizations, sizes from a hundredth to a hundred."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        name = variable.name.split("/")[-1].split(":")[0]
        sizes = 10 ** generator.uniform(-2, 2, variable.shape[-1])
        if name == "depthwise_kernel":
            sizes = 10 ** generator.uniform(-2, 2, (variable.shape[-2], 1))
        if name.endswith("kernel") or name == "gamma":
            variable.assign(generator.normal(size=variable.shape) * sizes)
        elif name == "moving_variance":
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        else:
            variable.assign(generator.normal(size=variable.shape))
    return model


def chain(*parts, shape=(10, 10, 3)):
    image = x = keras.Input(shape, name="image")
    for part in parts:
        x = part(x)
    return scattered(keras.Model(image, x))


def pairs(model):
    return [(pair.first, pair.second) for pair in equalized_pairs(ModelGraph(take(model)))]


def equalized(model, expected_pairs):
    """Return the equalized model after a check that it computes the same, by other weights where there are pairs."""
    assert pairs(model) == expected_pairs
    snapshot = take(model)
    before = {(path, name): array.copy() for path, arrays in snapshot.weights.items() for name, array in arrays.items()}
    after = equalize_channels(snapshot)
    for (path, name), array in before.items():
        np.testing.assert_array_equal(snapshot.weights[path][name], array)
    changed = {path for (path, name), array in before.items() if not np.allclose(after.weights[path][name], array)}
    assert {second for _, second in expected_pairs} <= changed
    if not expected_pairs:
        assert changed == set()
    result = build(after)
    inputs = zoo.samples(model)
    for expected, received in zip(zoo.predict(model, inputs), zoo.predict(result, inputs), strict=True):
        assert len(np.unique(expected)) > 3
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    return result


def conv(name, filters=5, size=3, **options):
    return layers.Conv2D(filters, size, name=name, **options)


def depthwise(name, **options):
    return layers.DepthwiseConv2D(3, name=name, **options)


def norm(name, **options):
    return layers.BatchNormalization(name=name, **options)


ACTIVATIONS = {
    "none": [],
    "ReLU": [layers.ReLU],
    "leaky slope": [lambda: layers.ReLU(negative_slope=0.1)],
    "LeakyReLU": [layers.LeakyReLU],
    "Activation": [lambda: layers.Activation("relu")],
    "linear": [lambda: layers.Activation("linear")],
    "leaky_relu": [lambda: layers.Activation("leaky_relu")],
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_function_stays_behind_rectifiers_of_every_kind(activation):
    between = [make() for make in ACTIVATIONS[activation]]
    equalized(chain(conv("a"), *between, conv("b", 4)), [("a", "b")])


PASSING = {
    "dropout": lambda: layers.Dropout(0.5),
    "spatial dropout": lambda: layers.SpatialDropout2D(0.5),
    "padding": lambda: layers.ZeroPadding2D(2),
    "max pooling": layers.MaxPooling2D,
    "average pooling": lambda: layers.AveragePooling2D(2, padding="same"),
    "cropping": lambda: layers.Cropping2D(1),
    "upsampling by interpolation": lambda: layers.UpSampling2D(interpolation="bilinear"),
}


@pytest.mark.parametrize("passing", PASSING)
def test_the_function_stays_behind_layers_that_pass_channels_on(passing):
    model = chain(conv("a", activation="relu"), PASSING[passing](), conv("b", 4, padding="same"))
    equalized(model, [("a", "b")])


FIRST_AND_SECOND = {
    "groups of the first": lambda: [conv("a", 6, groups=3), layers.ReLU(), conv("b", 4)],
    "several outputs of a channel": lambda: [depthwise("a", depth_multiplier=2), layers.ReLU(), conv("b")],
    "a transposed second": lambda: [conv("a"), layers.ReLU(), layers.Conv2DTranspose(3, 2, name="b")],
    "a transposed first": lambda: [layers.Conv2DTranspose(3, 2, name="a"), layers.ReLU(), conv("b")],
}


@pytest.mark.parametrize("kind", FIRST_AND_SECOND)
def test_the_function_stays_for_other_convolutions_in_a_pair(kind):
    equalized(chain(*FIRST_AND_SECOND[kind]()), [("a", "b")])


KINDS = {
    "Conv1D": ([layers.Conv1D(5, 3, name="a"), layers.ReLU(), layers.Conv1D(4, 3, padding="causal", name="b")], (9, 3)),
    "Conv3D": ([layers.Conv3D(5, 2, name="a"), layers.ReLU(), layers.Conv3D(4, 2, name="b")], (4, 4, 4, 2)),
    "DepthwiseConv1D": (
        [layers.Conv1D(5, 3, name="a"), layers.DepthwiseConv1D(3, name="b"), layers.Conv1D(4, 1, name="c")],
        (9, 3),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_function_stays_for_convolutions_of_every_rank(kind):
    parts, shape = KINDS[kind]
    names = [part.name for part in parts if not isinstance(part, layers.ReLU)]
    equalized(chain(*parts, shape=shape), list(itertools.pairwise(names)))


def largest(kernel, axis):
    others = tuple(i for i in range(kernel.ndim) if i != axis % kernel.ndim)
    return np.abs(kernel).max(axis=others)


def assert_ratio(made, read):
    """Check that both sides of a pair have ranges whose ratio is the same in every channel."""
    ratio = made / read
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=0.05)


def test_the_ranges_of_both_sides_are_equal_up_to_one_factor():
    model = chain(conv("a", 6), layers.ReLU(), depthwise("b"), layers.ReLU(), conv("c", 4, 1))
    before = model.get_layer("a").kernel.numpy()
    result = equalized(model, [("a", "b"), ("b", "c")])
    a, b, c = (result.get_layer(name).variables[0].numpy() for name in "abc")
    assert_ratio(largest(a, -1), largest(b, -2))
    assert_ratio(largest(b, -2), largest(c, -2))
    assert largest(before, -1).max() > 100 * largest(before, -1).min()
    # The factor of a pair is one in the mean, so that no side grows as a whole.
    np.testing.assert_allclose(np.log(largest(a, -1)).mean(), np.log(largest(before, -1)).mean(), rtol=1e-3)


def test_with_a_normalization_its_output_is_what_is_compared():
    model = chain(
        conv("a", 6, use_bias=False), norm("n"), layers.ReLU(), depthwise("b", activation="relu"), conv("c", 4)
    )
    result = equalized(model, [("a", "b"), ("b", "c")])
    normalization = result.get_layer("n")
    made = np.abs(normalization.beta.numpy()) + 3 * np.abs(normalization.gamma.numpy())
    assert_ratio(made, largest(result.get_layer("b").depthwise_kernel.numpy(), -2))
    np.testing.assert_array_equal(result.get_layer("a").kernel, model.get_layer("a").kernel)
    for name in ("moving_mean", "moving_variance"):
        np.testing.assert_array_equal(getattr(normalization, name), getattr(model.get_layer("n"), name))
    [first, _] = equalized_pairs(ModelGraph(take(model)))
    assert first == EqualizedPair("a", "b", "n")


def test_a_convolution_with_a_bias_and_a_normalization_keeps_its_bias():
    model = chain(conv("a"), layers.Dropout(0.5), norm("n"), layers.ReLU(), conv("b"))
    result = equalized(model, [("a", "b")])
    np.testing.assert_array_equal(result.get_layer("a").bias, model.get_layer("a").bias)
    assert not np.allclose(result.get_layer("n").gamma, model.get_layer("n").gamma)


LEFT_ALONE = {
    "ReLU6": lambda: [conv("a"), layers.ReLU(6.0), conv("b")],
    "relu6 inside": lambda: [conv("a", activation="relu6"), conv("b")],
    "threshold": lambda: [conv("a"), layers.ReLU(threshold=0.5), conv("b")],
    "swish": lambda: [conv("a"), layers.Activation("swish"), conv("b")],
    "PReLU": lambda: [conv("a"), layers.PReLU(), conv("b")],
    "groups of the second": lambda: [conv("a", 6), layers.ReLU(), conv("b", 4, groups=2)],
    "several readings of a channel": lambda: [conv("a"), layers.ReLU(), depthwise("b", depth_multiplier=2)],
    "normalization without gamma": lambda: [conv("a"), norm("n", scale=False), layers.ReLU(), conv("b")],
    "normalization without beta": lambda: [conv("a"), norm("n", center=False), layers.ReLU(), conv("b")],
    "normalization of another axis": lambda: [conv("a", padding="same"), norm("n", axis=1), layers.ReLU(), conv("b")],
    "normalization behind the rectifier": lambda: [conv("a"), layers.ReLU(), norm("n"), conv("b")],
    "normalization behind a fused rectifier": lambda: [conv("a", activation="relu"), norm("n"), conv("b")],
    "normalization behind pooling": lambda: [conv("a"), layers.MaxPooling2D(), norm("n"), conv("b")],
    "a dense layer": lambda: [conv("a"), layers.ReLU(), layers.Flatten(), layers.Dense(3, name="b")],
    "padding of the channels": lambda: [conv("a"), layers.ZeroPadding2D(1, data_format="channels_first"), conv("b")],
    "pooling over channels": lambda: [
        conv("a", 6),
        layers.AveragePooling2D(2, data_format="channels_first", padding="same", name="pool"),
        conv("b"),
    ],
}


@pytest.mark.parametrize("what", [name for name in LEFT_ALONE if "channels" not in name])
def test_what_does_not_let_a_factor_through_is_left_alone(what):
    equalized(chain(*LEFT_ALONE[what]()), [])


@pytest.mark.parametrize("what", [name for name in LEFT_ALONE if "channels" in name])
def test_layers_that_take_another_axis_for_the_channels_are_left_alone(what):
    assert pairs(chain(*LEFT_ALONE[what]())) == []


def test_convolutions_with_the_channels_first_are_left_alone():
    first, second = (conv(name, data_format="channels_first") for name in "ab")
    assert pairs(chain(first, layers.ReLU(), second, shape=(3, 10, 10))) == []


def test_a_layer_of_ones_own_is_left_alone():
    class ReLU(layers.Layer):
        def call(self, inputs):
            return inputs**2

    equalized(chain(conv("a"), ReLU(name="own"), conv("b")), [])


def test_a_tensor_with_two_readers_is_left_alone():
    image = keras.Input((10, 10, 3), name="image")
    x = layers.ReLU(name="relu")(conv("a")(image))
    one, other = conv("b")(x), conv("c")(x)
    equalized(scattered(keras.Model(image, layers.Add(name="sum")([one, other]))), [])


def test_a_tensor_that_is_an_output_is_left_alone():
    image = keras.Input((10, 10, 3), name="image")
    x = layers.ReLU(name="relu")(conv("a")(image))
    equalized(scattered(keras.Model(image, [x, conv("b")(x)])), [])


@pytest.mark.parametrize("shared", ["first", "second"])
def test_a_shared_convolution_is_left_alone(shared):
    image, other = keras.Input((10, 10, 5), name="image"), keras.Input((10, 10, 5), name="other")
    a, b, alone = conv("a", 5, padding="same"), conv("b", 5, padding="same"), conv("c", padding="same")
    one = b(a(image))
    two = alone(a(other)) if shared == "first" else b(alone(other))
    equalized(scattered(keras.Model([image, other], [one, two])), [])


def test_a_rectifier_that_is_called_twice_serves_two_pairs():
    image, relu = keras.Input((10, 10, 3), name="image"), layers.ReLU(name="relu")
    equalized(
        scattered(keras.Model(image, conv("c")(relu(conv("b")(relu(conv("a")(image))))))), [("a", "b"), ("b", "c")]
    )


def test_pairs_inside_a_nested_model_that_is_called_twice_are_equalized_and_none_across_its_border():
    inner = keras.Input((10, 10, 3), name="inner")
    backbone = keras.Model(inner, conv("b", 3, padding="same")(conv("a", padding="same")(inner)), name="backbone")
    image = keras.Input((10, 10, 3), name="image")
    between = conv("c", padding="same", filters=3)
    model = scattered(keras.Model(image, conv("d")(backbone(between(backbone(image))))))
    equalized(model, [("backbone/a", "backbone/b")])


def test_a_layer_that_two_models_share_is_left_alone():
    inner = keras.Input((10, 10, 3), name="inner")
    middle = conv("a")(inner)
    near, far = keras.Model(inner, middle, name="near"), keras.Model(inner, conv("b")(middle), name="far")
    image = keras.Input((10, 10, 3), name="image")
    equalized(scattered(keras.Model(image, [near(image), far(image)])), [])


def test_a_sequential_model_is_equalized():
    model = keras.Sequential([keras.Input((10, 10, 3)), conv("a", activation="relu"), conv("b")])
    equalized(scattered(model), [("a", "b")])


def test_dead_channels_stay_dead_and_finite():
    model = chain(conv("a"), layers.ReLU(), conv("b", 4))
    kernel, reader = model.get_layer("a").kernel, model.get_layer("b").kernel
    kernel.assign(kernel * np.float32([0, 1, 1, 1, 1]))
    reader.assign(reader * np.float32([1, 0, 1, 1, 1])[:, np.newaxis])
    result = equalized(model, [("a", "b")])
    assert all(np.isfinite(variable).all() for variable in result.variables)
    a, b = largest(result.get_layer("a").kernel.numpy(), -1), largest(result.get_layer("b").kernel.numpy(), -2)
    assert (a[0], b[1]) == (0, 0)
    assert_ratio(a[2:], b[2:])


def test_a_model_with_one_range_for_channels_of_very_different_sizes_is_quantized_far_better():
    model = chain(conv("a", 8), norm("n"), layers.ReLU(), depthwise("b"), layers.ReLU(), conv("c", 4, 1))
    # What is small in one layer is made large by the next, as in trained networks: all channels matter.
    sizes = 10 ** np.linspace(-2, 2, 8).astype(np.float32)
    generator = np.random.default_rng(0)
    model.get_layer("n").gamma.assign(sizes)
    model.get_layer("n").beta.assign(sizes * generator.uniform(0.1, 0.5, 8))
    model.get_layer("b").depthwise_kernel.assign(generator.normal(size=(3, 3, 8, 1)) / sizes[:, np.newaxis])
    x = zoo.samples(model, 32)
    expected = model(x).numpy()
    ratios = []
    for equalize in (False, True):
        found = quantized(model, x, 32, bits=8, equalize=equalize)
        assert found.get_layer("b").weight_ops[0].per_channel
        ratios.append(zoo.sqnr(expected, found(x).numpy()))
    assert ratios[1] > ratios[0] + 10
