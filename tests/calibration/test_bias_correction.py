"""Fast bias correction: with quantized weights every layer keeps the mean of its output."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import Dataset
from keras_compress._keras import keras
from keras_compress.calibration import FastBiasCorrection, collect_statistics, corrected_layers
from keras_compress.graph import ModelGraph, take
from keras_compress.graph.batch_norm_fusion import bias_locations
from keras_compress.graph.variables import leaf_layers
from tests import zoo
from tests.calibration.corrections import kernel_name, means, numbers, plain, quantized, uneven

layers = keras.layers

LAYERS = {
    "Conv1D": (lambda **o: layers.Conv1D(5, 3, **o), (9, 3)),
    "Conv1D causal": (lambda **o: layers.Conv1D(5, 3, padding="causal", dilation_rate=2, **o), (9, 3)),
    "Conv2D": (lambda **o: layers.Conv2D(5, 3, **o), (7, 7, 3)),
    "Conv2D same": (lambda **o: layers.Conv2D(5, 3, padding="same", **o), (7, 7, 3)),
    "Conv2D strides": (lambda **o: layers.Conv2D(5, 3, 2, "same", **o), (7, 7, 3)),
    "Conv2D dilation": (lambda **o: layers.Conv2D(5, 3, dilation_rate=2, **o), (8, 8, 3)),
    "Conv2D groups": (lambda **o: layers.Conv2D(6, 3, groups=2, **o), (6, 6, 4)),
    "Conv3D": (lambda **o: layers.Conv3D(5, 2, padding="same", **o), (4, 4, 4, 3)),
    "DepthwiseConv1D": (lambda **o: layers.DepthwiseConv1D(3, depth_multiplier=2, **o), (9, 3)),
    "DepthwiseConv2D": (lambda **o: layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2, **o), (7, 7, 3)),
    "Conv1DTranspose": (lambda **o: layers.Conv1DTranspose(5, 3, 2, **o), (5, 3)),
    "Conv2DTranspose": (lambda **o: layers.Conv2DTranspose(5, 3, 2, "same", **o), (5, 5, 3)),
    "Conv3DTranspose": (lambda **o: layers.Conv3DTranspose(5, 2, **o), (3, 3, 3, 3)),
    "Dense": (lambda **o: layers.Dense(5, **o), (6,)),
    "Dense rank 3": (lambda **o: layers.Dense(5, **o), (4, 6)),
}

WITHOUT_NORMALIZATION = {
    "EinsumDense": (lambda **o: layers.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de", **o), (4, 6)),
    "EinsumDense one axis": (lambda **o: layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d", **o), (4, 6)),
    "EinsumDense outer axis": (lambda **o: layers.EinsumDense("abc,cde->abde", (4, 2, 3), bias_axes="d", **o), (4, 6)),
    "LocallyConnected1D": (lambda **o: layers.LocallyConnected1D(4, 3, **o), (6, 3)),
    "LocallyConnected2D": (lambda **o: layers.LocallyConnected2D(4, 3, **o), (5, 5, 3)),
    "LocallyConnected2D dense": (lambda **o: layers.LocallyConnected2D(2, 3, implementation=2, **o), (4, 4, 2)),
}


def one_layer(layer, shape, behind=()):
    x = y = keras.Input(shape, name="x")
    for part in (layer, *behind):
        y = part(y)
    model = keras.Model(x, y)
    generator = np.random.default_rng(3)
    for variable in model.variables:
        if variable.shape.rank == 1 or "bias" in variable.name:
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    return model


def assert_mean_kept(expected, corrected, uncorrected, tolerance=1e-4):
    """Check that two means are equal, and that they were not from the first."""
    size = np.abs(expected).max()
    assert np.abs(uncorrected - expected).max() > 20 * tolerance * size
    np.testing.assert_allclose(corrected, expected, rtol=0, atol=tolerance * size)


def assert_layer_keeps_mean(layer, wrapper, inputs, tolerance=1e-4):
    """Check a layer with a bias of its own against its float form, on the same inputs."""
    kernel = wrapper.compressed_weight(kernel_name(wrapper))
    shape = layer.bias.shape
    expected = means(plain(layer)(inputs).numpy(), shape)
    corrected = means(plain(wrapper, kernel)(inputs).numpy(), shape)
    uncorrected = means(plain(wrapper, kernel, layer.bias)(inputs).numpy(), shape)
    assert_mean_kept(expected, corrected, uncorrected, tolerance)


@pytest.mark.parametrize("kind", {**LAYERS, **WITHOUT_NORMALIZATION})
def test_the_mean_of_a_layer_with_a_bias_is_kept(kind):
    make, shape = {**LAYERS, **WITHOUT_NORMALIZATION}[kind]
    model = one_layer(make(name="layer"), shape)
    x = uneven(shape)
    found = quantized(model, x, bias="fast")
    assert_layer_keeps_mean(model.get_layer("layer"), found.get_layer("layer"), x)


@pytest.mark.parametrize(
    ("kind", "behind"),
    [
        ("Conv1D", "normalization"),
        ("Conv2D strides", "normalization"),
        ("Conv2D groups", "dropout"),
        ("DepthwiseConv2D", "normalization"),
        ("Conv2DTranspose", "dropout"),
        ("Dense rank 3", "normalization"),
    ],
)
def test_the_normalization_behind_a_layer_without_a_bias_takes_the_shift(kind, behind):
    make, shape = LAYERS[kind]
    between = [layers.Dropout(0.5, name="drop")] if behind == "dropout" else []
    model = one_layer(make(use_bias=False, name="layer"), shape, [*between, layers.BatchNormalization(name="norm")])
    x = uneven(shape)
    found = quantized(model, x, bias="fast")
    wrapper, before = found.get_layer("layer"), model.get_layer("norm").moving_mean.numpy()
    expected = means(plain(model.get_layer("layer"))(x).numpy(), before.shape) - before
    made = means(plain(wrapper, wrapper.compressed_weight(kernel_name(wrapper)))(x).numpy(), before.shape)
    assert_mean_kept(expected, made - found.get_layer("norm").moving_mean.numpy(), made - before)
    for name in ("gamma", "beta", "moving_variance"):
        np.testing.assert_array_equal(getattr(found.get_layer("norm"), name), getattr(model.get_layer("norm"), name))


@pytest.mark.parametrize("activation", ["relu", "softmax"])
def test_a_fused_activation_function_is_left_out_of_the_mean(activation):
    model = one_layer(layers.Conv2D(5, 3, activation=activation, name="layer"), (7, 7, 3))
    x = uneven((7, 7, 3))
    found = quantized(model, x, bias="fast")
    assert_layer_keeps_mean(model.get_layer("layer"), found.get_layer("layer"), x)
    assert found.get_layer("layer").layer.activation is getattr(keras.activations, activation)
    assert found.get_layer("layer").layer.use_bias


def test_every_layer_is_corrected_for_the_inputs_it_has_in_the_float_model():
    model = zoo.residual()
    x = uneven((6, 6, 3))
    found = quantized(model, x, bias="fast")
    assert_layer_keeps_mean(model.get_layer("stem"), found.get_layer("stem"), x)
    inner = keras.Model(model.inputs, [model.get_layer(name).input for name in ("body", "out")])
    for name, inputs in zip(("body", "out"), inner(x), strict=True):
        assert_layer_keeps_mean(model.get_layer(name), found.get_layer(name), inputs)


def test_layers_of_nested_models_are_corrected():
    model = zoo.nested()
    x = uneven((6, 6, 3))
    found = dict(leaf_layers(quantized(model, x, bias="fast")))
    known = dict(leaf_layers(model))
    assert_layer_keeps_mean(known["backbone/conv"], found["backbone/conv"], x)
    features = model.get_layer("head").get_layer("flat")(model.get_layer("backbone")(x))
    assert_layer_keeps_mean(known["head/dense"], found["head/dense"], features)


def test_a_shared_layer_keeps_its_mean_over_all_calls():
    model = zoo.shared_layer()
    x = [uneven((4,)), 3 + uneven((4,), seed=1)]
    found = quantized(model, tuple(x), bias="fast")
    assert_layer_keeps_mean(model.get_layer("shared"), found.get_layer("shared"), np.concatenate(x))


def test_half_precision_keeps_the_mean_as_well_as_it_can():
    policy = "mixed_float16"
    model = one_layer(layers.Conv2D(5, 3, dtype=policy, name="layer"), (7, 7, 3))
    x = 6000 * uneven((7, 7, 3), 33)[:32]  # their sum over a batch is beyond float16
    assert x.sum(axis=0).min() > np.finfo(np.float16).max > x.max()
    found = quantized(model, x, bias="fast")
    assert_layer_keeps_mean(model.get_layer("layer"), found.get_layer("layer"), x.astype(np.float16), 2e-3)


def test_rows_that_are_merged_into_the_batch_count_as_their_samples():
    x = keras.Input((5, 4), name="x")
    rows = layers.Dense(3, name="layer")(tf.reshape(x, [-1, 4]))
    model = keras.Model(x, tf.reshape(rows, [-1, 5, 3]))
    data = uneven((5, 4))
    found = quantized(model, data, bias="fast")
    assert_layer_keeps_mean(model.get_layer("layer"), found.get_layer("layer"), data.reshape(-1, 4))


@pytest.mark.parametrize("samples", [5, 32, 36])
def test_no_more_samples_than_asked_for_are_measured(samples):
    model = one_layer(layers.Dense(5, name="layer"), (6,))
    x = uneven((6,))
    found = quantized(model, x, samples, bias="fast")
    assert_layer_keeps_mean(model.get_layer("layer"), found.get_layer("layer"), x[:samples])


def test_the_order_and_the_batches_of_the_data_make_no_difference():
    model = zoo.residual()
    x = uneven((6, 6, 3))
    expected = numbers(quantized(model, x, bias="fast"))
    shuffled = x[np.random.default_rng(1).permutation(len(x))]
    batches = [shuffled[:1], shuffled[1:30], shuffled[30:]]
    found = numbers(quantized(model, lambda: iter(batches), bias="fast"))
    assert found.keys() == expected.keys()
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-4, atol=1e-6, err_msg=str(key))


def test_only_biases_and_moving_means_change():
    model = zoo.convolution()
    before = numbers(quantized(model, uneven((8, 8, 3))))
    after = numbers(quantized(model, uneven((8, 8, 3)), bias="fast"))
    changed = {key for key, value in after.items() if not np.array_equal(value, before[key])}
    assert changed == {("conv", "bias"), ("out", "bias")}
    for (path, name), value in numbers(model).items():
        if name != "bias":
            np.testing.assert_array_equal(after[path, name], value)


def test_layers_that_cannot_carry_a_bias_stay_as_they_are():
    x = keras.Input((4, 6), name="x")
    y = layers.Dense(5, use_bias=False, name="plain")(x)
    y = layers.TimeDistributed(layers.Dense(4, name="inner"), name="distributed")(y)
    y = layers.SimpleRNN(3, name="recurrent")(y)
    model = keras.Model(x, layers.Dense(2, name="out")(y))
    data = uneven((4, 6))
    before, found = numbers(quantized(model, data)), quantized(model, data, bias="fast")
    after = numbers(found)
    changed = {path for (path, name), value in after.items() if not np.array_equal(value, before[path, name])}
    assert changed == {"out"}
    inputs = keras.Model(x, model.get_layer("out").input)(data)
    assert_layer_keeps_mean(model.get_layer("out"), found.get_layer("out"), inputs)


def test_layers_that_are_not_quantized_are_not_corrected():
    model = zoo.residual()
    x = uneven((6, 6, 3))
    found = quantized(model, x, bias="fast", ignored_scopes=["body"])
    np.testing.assert_array_equal(found.get_layer("body").bias, model.get_layer("body").bias)
    assert not np.array_equal(found.get_layer("stem").bias, model.get_layer("stem").bias)


def test_a_correctable_layer_knows_its_variable_and_the_sign():
    model = one_layer(
        layers.Conv2D(5, 3, use_bias=False, name="layer"), (7, 7, 3), [layers.BatchNormalization(name="norm")]
    )
    found = quantized(model, uneven((7, 7, 3)))
    [layer] = corrected_layers(found, bias_locations(ModelGraph(take(model))))
    x = uneven((7, 7, 3), 4)
    before = found(x).numpy()
    assert layer.bias is found.get_layer("norm").moving_mean
    shift = np.arange(5.0)
    layer.add(shift)
    norm = found.get_layer("norm")
    moved = shift * norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    np.testing.assert_allclose(found(x) - before, np.broadcast_to(moved, before.shape), atol=1e-4)


def test_data_without_a_row_for_a_layer_change_nothing():
    model = zoo.dense()
    found = quantized(model, uneven((4,)))
    before = numbers(found)
    correction = FastBiasCorrection(corrected_layers(found, bias_locations(ModelGraph(take(model)))), samples=8)
    correction.assign()
    assert all(np.array_equal(value, before[key]) for key, value in numbers(found).items())


def test_the_layers_compute_as_before_when_the_data_fail():
    model = zoo.dense()
    found = quantized(model, uneven((4,)))
    x = uneven((4,))
    before = found(x).numpy()
    correction = FastBiasCorrection(corrected_layers(found, bias_locations(ModelGraph(take(model)))), samples=64)

    def breaking():
        yield x
        raise KeyError("the user's own")

    with pytest.raises(KeyError, match="own"):
        collect_statistics(found, [correction], Dataset(breaking), "calibration")
    assert all("call" not in vars(layer.layer) for _, layer in leaf_layers(found) if hasattr(layer, "weight_ops"))
    np.testing.assert_array_equal(found(x), before)


def test_the_outputs_in_four_bits_are_nearer_to_the_float_ones():
    model = zoo.residual()
    x = uneven((6, 6, 3), 200)
    expected = model(x).numpy()
    errors = [np.mean(np.square(quantized(model, x, 200, bias=bias)(x) - expected)) for bias in (None, "fast")]
    assert errors[1] < 0.5 * errors[0]
