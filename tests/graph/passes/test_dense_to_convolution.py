"""Compressed dense layers compute as convolutions, with the same outputs, names and grids."""

import numpy as np
import pytest

from keras_compress._keras import keras
from keras_compress.graph import build, take
from keras_compress.graph.passes.dense_to_convolution import dense_to_convolution
from keras_compress.graph.passes.fix_quantizers import fix_quantizers
from keras_compress.graph.passes.fold_batch_norm import fold_batch_norm
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers import PointwiseDense
from tests import zoo

layers = keras.layers


def inner(layer):
    return getattr(layer, "layer", layer)


def dense_layers(model):
    return [path for path, layer in leaf_layers(model) if type(inner(layer)) is layers.Dense]


def pointwise(model):
    return [path for path, layer in leaf_layers(model) if isinstance(inner(layer), PointwiseDense)]


def converted(model, **settings):
    """Return the model for inference before and after, checked to give the same outputs under the same names."""
    return converted_snapshot(fix_quantizers(take(zoo.compress(model, **settings)[1])))


def converted_snapshot(snapshot):
    before, after = build(snapshot), build(dense_to_convolution(snapshot))
    zoo.assert_same_predictions(after, before, zoo.samples(before), rtol=1e-4, atol=1e-5)
    assert [path for path, _ in leaf_layers(after)] == [path for path, _ in leaf_layers(before)]
    assert (after.input_names, after.output_names) == (before.input_names, before.output_names)
    return before, after


@zoo.every_kind
def test_every_compressed_dense_layer_of_every_model(kind):
    before, after = converted_snapshot(fix_quantizers(take(zoo.compressed_once(kind)[1])))
    assert dense_layers(after) == []
    assert pointwise(after) == dense_layers(before)


@pytest.mark.parametrize("shape", [(4,), (5, 4), (3, 5, 4)])
@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"activation": "softmax"}, {"activation": "tanh"}])
def test_inputs_of_any_rank_and_any_activation(shape, options):
    model = keras.Sequential([keras.Input(shape, name="x"), layers.Dense(6, name="out", **options)])
    _, after = converted(model)
    assert pointwise(after) == ["out"]


@pytest.mark.parametrize("weights", [{"per_channel": False}, {"mode": "asymmetric"}, {"bits": 4}])
def test_every_quantizer(weights):
    converted(zoo.dense(), weights=weights)


def test_the_kernel_is_the_same_with_two_axes_more():
    before, after = converted(zoo.dense())
    for name in ("hidden", "out"):
        kernel = before.get_layer(name).kernel.numpy()
        assert after.get_layer(name).kernel.shape == (1, 1, *kernel.shape)
        np.testing.assert_array_equal(after.get_layer(name).kernel[0, 0], kernel)
        [(_, old)], [(_, new)] = before.get_layer(name).operations, after.get_layer(name).operations
        np.testing.assert_array_equal(new.high, old.high)
        np.testing.assert_allclose(new(after.get_layer(name).kernel)[0, 0], old(kernel))


def test_a_dense_layer_with_a_folded_normalization():
    x = keras.Input((4,), name="x")
    model = keras.Model(x, layers.BatchNormalization(name="norm")(layers.Dense(5, use_bias=False, name="out")(x)))
    snapshot = fix_quantizers(take(zoo.compress(model)[1]))
    after = build(dense_to_convolution(fold_batch_norm(snapshot)))
    zoo.assert_same_predictions(after, build(snapshot), zoo.samples(model), rtol=1e-4, atol=1e-5)
    assert pointwise(after) == ["out"]


def test_dense_layers_in_floating_point_stay():
    _, after = converted(zoo.dense(), ignored_scopes=["hidden"])
    assert (dense_layers(after), pointwise(after)) == (["hidden"], ["out"])


def test_a_sparse_model_has_none_that_are_still_wrapped():
    _, compressed = zoo.compress(zoo.dense(), "magnitude_sparsity", sparsity_init=0.5)
    after = build(dense_to_convolution(fix_quantizers(take(compressed))))
    assert pointwise(after) == []


def test_convolutions_stay():
    before, after = converted(zoo.convolution())
    assert type(after.get_layer("conv").layer) is layers.Conv2D
    np.testing.assert_array_equal(after.get_layer("conv").kernel, before.get_layer("conv").kernel)


def test_frozen_layers_stay_frozen():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, trainable=False, name="out")])
    _, after = converted(model)
    assert not after.get_layer("out").trainable


def test_the_snapshot_stays_as_it_was():
    snapshot = fix_quantizers(take(zoo.compress(zoo.nested())[1]))
    before = build(snapshot)
    dense_to_convolution(snapshot)
    again = build(snapshot)
    zoo.assert_same_predictions(again, before, zoo.samples(before))
    assert pointwise(again) == []
