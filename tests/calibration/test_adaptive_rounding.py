"""Adaptive rounding: weights go to one of their two neighbours on the grid, and layers keep their outputs better."""

import numpy as np
import pytest

from keras_compress._keras import keras
from keras_compress.calibration import AdaptiveRounding
from keras_compress.layers import FakeQuantize
from tests import zoo
from tests.calibration.corrections import WEIGHTS_ONLY, at, kernel_name, numbers, quantized, uneven

layers = keras.layers

#: Strong enough a regularization that every weight has decided where to go when learning ends.
LEARNED = AdaptiveRounding(steps=400, learning_rate=0.02, regularization=0.1)
QUICK = AdaptiveRounding(steps=150, learning_rate=0.05, regularization=0.1)


def convolutions():
    """A convolution with a bias, a depthwise one with a normalization behind it, and two dense layers."""
    image = keras.Input((6, 6, 3), name="image")
    x = layers.ReLU(name="first_relu")(layers.Conv2D(6, 3, padding="same", name="first")(image))
    x = layers.DepthwiseConv2D(3, use_bias=False, depth_multiplier=2, name="depthwise")(x)
    x = layers.ReLU(name="norm_relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.ReLU(name="hidden_relu")(layers.Dense(8, name="hidden")(layers.Flatten(name="flat")(x)))
    return zoo._randomized(keras.Model(image, layers.Dense(3, name="out")(x)))


def correlated(shape, count=64):
    """Return samples whose values depend on each other, as those of images do: where learned rounding gains."""
    generator = np.random.default_rng(0)
    mixture = generator.normal(size=(3, int(np.prod(shape))))
    return np.abs(generator.normal(size=(count, 3)) @ mixture).reshape(count, *shape).astype(np.float32)


def dense(width=6, **options):
    x = keras.Input((32,), name="x")
    return keras.Model(x, layers.Dense(width, name="layer", **options)(x))


def errors(model, candidates, names, inputs):
    return {
        name: [np.mean(np.square(at(m, name, inputs) - at(model, name, inputs))) for m in candidates] for name in names
    }


def neighbours(kernel, wrapper):
    """Return the weights in steps of the grid, and the new ones in steps: both from the ends of the range alone."""
    [(weight, op)] = wrapper.operations
    low, high = (end.numpy().astype(np.float64) for end in op.range())
    levels = 2 ** (op.num_bits - op.half_range) - op.narrow_range
    step = (high - low) / (levels - 1)
    return (kernel - low) / step, (getattr(wrapper.layer, weight).numpy() - low) / step, levels


def assert_on_neighbours(kernel, wrapper):
    exact, found, levels = neighbours(kernel, wrapper)
    np.testing.assert_allclose(found, np.round(found), atol=2e-3)
    assert np.abs(found - np.clip(exact, 0, levels - 1)).max() < 1.001
    assert found.min() > -0.01
    assert found.max() < levels - 0.99
    # What the forward pass makes of them is what they are: the quantizer does not round them to another level.
    name = kernel_name(wrapper)
    np.testing.assert_allclose(wrapper.compressed_weight(name), getattr(wrapper.layer, name), rtol=1e-5, atol=1e-6)
    return np.sum(np.round(found) != np.round(np.clip(exact, 0, levels - 1)))


def test_weights_are_moved_to_a_neighbour_and_every_layer_keeps_its_output_better():
    model, x = convolutions(), correlated((6, 6, 3))
    nearest, learned = (quantized(model, x, rounding=how, **WEIGHTS_ONLY) for how in (None, QUICK))
    for name in ("first", "depthwise", "hidden", "out"):
        wrapper = learned.get_layer(name)
        kernel = getattr(model.get_layer(name), kernel_name(wrapper)).numpy()
        assert assert_on_neighbours(kernel, wrapper) > 0
    for name, (before, after) in errors(model, (nearest, learned), ["first", "norm", "hidden", "out"], x).items():
        assert after < 0.9 * before, name
    kernels = {(name, kernel_name(learned.get_layer(name))) for name in ("first", "depthwise", "hidden", "out")}
    before = numbers(nearest)
    assert {key for key, value in numbers(learned).items() if not np.array_equal(value, before[key])} == kernels


def test_the_ranges_of_all_quantizers_stay():
    model, x = zoo.dense(), correlated((4,))
    nearest, learned = (quantized(model, x, rounding=how) for how in (None, QUICK))
    ranges = [
        {k: v for k, v in numbers(m).items() if k[1].split(".")[-1] in ("scale", "signed")} for m in (nearest, learned)
    ]
    assert len(ranges[0]) == 8
    for key, value in ranges[0].items():
        np.testing.assert_array_equal(ranges[1][key], value)
    assert not np.array_equal(nearest.get_layer("out").kernel, learned.get_layer("out").kernel)


@pytest.mark.parametrize(
    "settings",
    [
        {"bits": 4},
        {"weights": {"bits": 4, "mode": "asymmetric"}},
        {"weights": {"bits": 3, "per_channel": False}},
        {"weights": {"bits": 3, "mode": "asymmetric", "per_channel": False}},
        {"weights": {"bits": 8}, "overflow_fix": "enable"},
    ],
    ids=["symmetric", "asymmetric", "per tensor", "asymmetric per tensor", "half range"],
)
def test_every_kind_of_grid_is_kept(settings):
    model, x = dense(), correlated((32,))
    kernel = model.get_layer("layer").kernel
    kernel.assign(kernel + 0.2)
    nearest, learned = (quantized(model, x, rounding=how, **WEIGHTS_ONLY, **settings) for how in (None, LEARNED))
    wrapper = learned.get_layer("layer")
    assert ("overflow_fix" in settings) == wrapper.weight_ops[0].half_range
    assert assert_on_neighbours(kernel.numpy(), wrapper) > 0
    [(before, after)] = errors(model, (nearest, learned), ["layer"], x).values()
    assert after < 0.6 * before


def test_weights_beyond_the_range_go_to_its_ends():
    model, x = dense(), correlated((32,))
    kernel = model.get_layer("layer").kernel
    kernel.assign(np.where(np.arange(192).reshape(32, 6) % 8 == 0, 5.0, kernel))
    settings = {
        "initializer": {"range": {"type": "percentile", "params": {"max_percentile": 80, "min_percentile": 20}}}
    }
    learned = quantized(model, x, rounding=QUICK, **WEIGHTS_ONLY, **settings)
    wrapper = learned.get_layer("layer")
    exact, _, levels = neighbours(kernel.numpy(), wrapper)
    assert (exact > levels).any()
    assert_on_neighbours(kernel.numpy(), wrapper)


def test_a_weight_on_a_level_stays_there():
    model, x = dense(), correlated((32,))
    kernel = np.random.default_rng(0).integers(-7, 8, (32, 6)).astype(np.float32)
    kernel[0] = 7
    model.get_layer("layer").kernel.assign(kernel / 8)
    learned = quantized(model, x, rounding=QUICK, **WEIGHTS_ONLY)
    np.testing.assert_allclose(learned.get_layer("layer").kernel, kernel / 8, atol=1e-6)


def test_errors_of_quantized_activations_are_made_good_too():
    model, x = dense(), correlated((32,))
    coarse = {"activations": {"bits": 2}, "bits": 8}
    nearest, learned = (quantized(model, x, rounding=how, **coarse) for how in (None, QUICK))
    [(before, after)] = errors(model, (nearest, learned), ["layer"], x).values()
    assert after < before


@pytest.mark.extended
def test_the_seed_makes_it_come_again():
    model, x = dense(), correlated((32,))
    seeds = (1, 1, 2)
    found = [
        quantized(model, x, bits=3, rounding=AdaptiveRounding(steps=20, batch_size=2, learning_rate=0.1, seed=seed))
        for seed in seeds
    ]
    first, again, other = (m.get_layer("layer").kernel.numpy() for m in found)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_half_precision_is_learned_as_well():
    model, x = dense(dtype="mixed_float16"), 1000 * correlated((32,))
    assert np.square(at(model, "layer", x)).max() > np.finfo(np.float16).max
    nearest, learned = (quantized(model, x, bits=3, rounding=how, **WEIGHTS_ONLY) for how in (None, QUICK))
    assert assert_on_neighbours(model.get_layer("layer").kernel.numpy(), learned.get_layer("layer")) > 0
    [(before, after)] = errors(model, (nearest, learned), ["layer"], x).values()
    assert after < 0.8 * before


def test_only_as_many_samples_as_asked_for_are_learned_from():
    model = dense()
    x = correlated((32,))
    settings = AdaptiveRounding(steps=40, learning_rate=0.05, num_samples=20)
    changed = x.copy()
    changed[20:] = uneven((32,), 44)
    first, second = (
        quantized(model, data, bits=3, rounding=settings, **WEIGHTS_ONLY).get_layer("layer").kernel.numpy()
        for data in (x, changed)
    )
    np.testing.assert_array_equal(first, second)


def test_a_shared_layer_is_learned_from_all_its_calls():
    first, second = keras.Input((32,), name="first"), keras.Input((32,), name="second")
    shared = layers.Dense(6, name="shared")
    model = keras.Model([first, second], layers.Concatenate(name="join")([shared(first), shared(second)]))
    # The calls read different weights, so that those of either are learned from its own samples.
    one_half = np.arange(32) < 16
    x = (correlated((32,)) * one_half, correlated((32,)) * ~one_half)
    nearest, learned = (quantized(model, x, bits=3, rounding=how, **WEIGHTS_ONLY) for how in (None, LEARNED))
    assert assert_on_neighbours(model.get_layer("shared").kernel.numpy(), learned.get_layer("shared")) > 0
    expected = model(x).numpy()
    for half in (slice(0, 6), slice(6, 12)):
        before, after = (np.mean(np.square(m(x).numpy() - expected)[:, half]) for m in (nearest, learned))
        assert after < before


def test_one_sample_is_enough_to_run():
    model, x = dense(), correlated((32,), 1)
    learned = quantized(model, x, bits=3, rounding=AdaptiveRounding(steps=20), **WEIGHTS_ONLY)
    assert np.isfinite(learned.get_layer("layer").kernel).all()
    assert isinstance(learned.get_layer("layer").weight_ops[0], FakeQuantize)
