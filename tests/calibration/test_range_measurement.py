"""Initialization of ranges: of weights from the weights, of activations in one pass over any kind of data."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import Dataset, create_compressed_model, json_schema, register_default_init_args
from keras_compress._keras import keras
from keras_compress.calibration import RangeInitializer, calibrate_weight
from keras_compress.errors import ConfigError, DataError
from keras_compress.graph import take
from keras_compress.graph.variables import leaf_layers, sublayers
from keras_compress.initialization import initialize
from keras_compress.layers import AsymmetricFakeQuantize, BinaryActivation, FakeQuantize, SymmetricFakeQuantize
from tests import zoo

TYPES = ["mixed_min_max", "min_max", "mean_min_max", "threesigma", "percentile", "mean_percentile", "mse", "entropy"]
layers = keras.layers


def quantizers(model):
    return {path: layer for path, layer in leaf_layers(model) if isinstance(layer, FakeQuantize)}


def compressed(model, data, *, range_settings=None, batch_norm_samples=0, **settings):
    """Return the compressed model, its ranges initialized from ``data``."""
    initializer = {
        "range": {"type": "min_max"} if range_settings is None else range_settings,
        "batchnorm_adaptation": {"num_bn_adaptation_samples": batch_norm_samples},
    }
    values = {"compression": {"algorithm": "quantization", "initializer": initializer, **settings}}
    return create_compressed_model(model, register_default_init_args(values, data))[1]


def ranges(model):
    return {path: [end.numpy().tolist() for end in layer.range()] for path, layer in quantizers(model).items()}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("axes", [None, (-1,), (-2,), (0, 2)])
def test_weights_are_measured_per_channel(kind, axes):
    weight = np.random.default_rng(0).normal(size=(3, 40, 5)).astype(np.float32)
    quantizer = SymmetricFakeQuantize(8, narrow_range=True, channel_axes=axes)
    quantizer.build(weight.shape)
    calibrate_weight(quantizer, weight, RangeInitializer(type=kind))
    channel_axes = () if axes is None else tuple(axis % 3 for axis in axes)
    others = tuple(axis for axis in range(3) if axis not in channel_axes)
    largest = np.abs(weight).max(axis=others, keepdims=axes is not None)
    assert quantizer.scale.shape == largest.shape
    if kind in ("mixed_min_max", "min_max", "mean_min_max"):
        np.testing.assert_array_equal(quantizer.scale, largest)
    elif kind in ("percentile", "mean_percentile"):
        low, high = np.percentile(weight, [0.1, 99.9], axis=others, keepdims=axes is not None)
        np.testing.assert_allclose(quantizer.scale, np.maximum(-low, high), rtol=1e-3)
    else:
        assert (quantizer.scale.numpy() > 0.3 * largest).all()
        assert kind == "threesigma" or (quantizer.scale.numpy() <= largest).all()


def test_asymmetric_weights_keep_both_ends():
    weight = np.array([[-1.0, 0.5], [3.0, 2.0]], np.float32)
    quantizer = AsymmetricFakeQuantize(8, channel_axes=(-1,))
    quantizer.build(weight.shape)
    calibrate_weight(quantizer, weight, RangeInitializer())
    np.testing.assert_array_equal(quantizer.range_min, [[-1.0, 0.0]])
    np.testing.assert_array_equal(quantizer.range_max, [[3.0, 2.0]])


def test_activations_are_measured_where_they_are():
    model = zoo.convolution()
    x = zoo.samples(model, 20)
    inner = keras.Model(model.inputs, model.get_layer("relu").output)(x).numpy()
    found = quantizers(compressed(model, x, weights={"target_scopes": ["out"]}))
    np.testing.assert_array_equal(found["image_quantizer"].scale, np.abs(x).max())
    assert float(found["image_quantizer"].signed) == 1.0
    # The pass shows float activations: quantizers of weights and of the input are switched off or wide enough.
    np.testing.assert_allclose(found["relu_quantizer"].scale, inner.max(), rtol=0.01)
    assert float(found["relu_quantizer"].signed) == 0.0


def test_mean_min_max_is_the_mean_over_samples():
    model = zoo.dense()
    x = zoo.samples(model, 70)
    (quantizer,) = (
        q
        for p, q in quantizers(compressed(model, x, range_settings={"type": "mean_min_max"})).items()
        if p == "x_quantizer"
    )
    expected = max(abs(x.min(axis=1).mean()), abs(x.max(axis=1).mean()))
    np.testing.assert_allclose(quantizer.scale, expected, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:The calibration data are far")
def test_channels_of_activations_have_ranges_of_their_own():
    model = zoo.convolution()
    x = zoo.samples(model, 20) * np.array([1, 10, 100], np.float32)
    found = quantizers(compressed(model, x, activations={"per_channel": True}))
    np.testing.assert_array_equal(np.ravel(found["image_quantizer"].scale), np.abs(x).max(axis=(0, 1, 2)))


@pytest.mark.filterwarnings("ignore:The calibration data are one sample alone")
@pytest.mark.parametrize("samples", [1, 5, 32, 33, 70])
def test_no_more_samples_than_asked_for_are_measured(samples):
    model = zoo.dense()
    x = np.arange(1, 101, dtype=np.float32)[:, np.newaxis] * np.ones((1, 4), np.float32)
    settings = {"type": "min_max", "num_init_samples": samples}
    assert float(quantizers(compressed(model, x, range_settings=settings))["x_quantizer"].scale) == samples


def test_each_quantizer_may_ask_for_its_own_number_of_samples():
    model = zoo.dense()
    x = np.arange(1, 101, dtype=np.float32)[:, np.newaxis] * np.ones((1, 4), np.float32)
    settings = [
        {"type": "min_max", "num_init_samples": 5, "target_scopes": ["x"]},
        {"type": "min_max", "num_init_samples": 90},
    ]
    few = ranges(compressed(model, x, range_settings=settings))
    many = ranges(compressed(model, x, range_settings={"type": "min_max", "num_init_samples": 90}))
    assert few["x_quantizer"][1] == 5.0
    assert few["hidden_quantizer"] == many["hidden_quantizer"]


def test_filling_of_the_last_batch_is_not_measured():
    model = zoo.dense()
    x = np.ones((33, 4), np.float32)
    x[32] = 7.0
    scale = quantizers(compressed(model, x, range_settings={"type": "mean_min_max"}))["x_quantizer"].scale
    assert float(scale) == pytest.approx((32 * 1 + 7) / 33, rel=1e-6)


@pytest.mark.parametrize(
    ("batch", "range_settings"),
    [(1, {}), (50, {}), *((7, {"type": kind}) for kind in TYPES)],
)
def test_batch_size_and_form_of_the_data_make_no_difference(batch, range_settings):
    model = zoo.convolution()
    x = zoo.samples(model, 50)
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(batch)
    expected = ranges(compressed(model, x, range_settings=range_settings))
    assert ranges(compressed(model, dataset, range_settings=range_settings)) == expected
    assert any(high != 6.0 for _, high in expected.values())


@pytest.mark.parametrize("range_settings", [{"type": kind} for kind in TYPES], ids=TYPES)
def test_the_order_of_the_data_makes_no_difference(range_settings):
    model = zoo.convolution()
    x = zoo.samples(model, 50)
    shuffled = x[np.random.default_rng(1).permutation(50)]
    expected = ranges(compressed(model, x, range_settings=range_settings))
    assert ranges(compressed(model, shuffled, range_settings=range_settings)) == expected


@pytest.mark.parametrize("make", [zoo.dicts, zoo.shared_layer])
def test_models_of_several_inputs_are_calibrated_with_each_input_at_its_place(make):
    model = make()
    x = tf.nest.map_structure(lambda array: array, zoo.samples(model, 20))
    flat = tf.nest.flatten(x)
    for factor, array in enumerate(flat, start=1):
        array *= 10.0**factor
    found = quantizers(compressed(model, x))
    for name, array in zip(model.input_names, flat, strict=True):
        if not (make is zoo.dicts and name == "wide"):  # its range is shared with another tensor
            assert float(found[f"{name}_quantizer"].scale) == np.abs(array).max()


def test_quantizers_in_nested_models_are_calibrated():
    model = zoo.nested()
    x = zoo.samples(model, 20)
    found = quantizers(compressed(model, x))
    np.testing.assert_array_equal(found["backbone/inner_image_quantizer"].scale, np.abs(x).max())
    assert all(float(quantizer.scale) != 6.0 for quantizer in found.values())


@pytest.mark.filterwarnings("ignore:50 of 100 input columns are lost")
@pytest.mark.parametrize("kind", TYPES)
def test_a_shared_range_holds_the_widest_of_the_joined_tensors(kind):
    narrow, wide = keras.Input((50,), name="narrow"), keras.Input((50,), name="wide")
    joined = layers.Concatenate(name="join")([narrow, wide])
    model = keras.Model([narrow, wide], layers.Dense(2, name="out")(joined))
    generator = np.random.default_rng(0)
    x = [generator.uniform(0, size, (64, 50)).astype(np.float32) for size in (0.01, 10.0)]
    settings = {"type": kind, "params": {"max_percentile": 99.0}}
    (quantizer,) = quantizers(compressed(model, x, range_settings=settings)).values()
    assert float(quantizer.scale) > 9.0


@pytest.mark.parametrize("mode", ["symmetric", "asymmetric"])
@pytest.mark.parametrize("kind", ["mse", "entropy"])
def test_ranges_that_fit_the_grid_are_found_for_weights_and_activations(kind, mode):
    model = zoo.convolution()
    x = zoo.samples(model, 80)
    settings = {group: {"mode": mode, "bits": 3} for group in ("weights", "activations")}
    ours, widest = (
        compressed(model, x, range_settings={"type": name, "num_init_samples": 64}, **settings)
        for name in (kind, "min_max")
    )
    pairs = zip(sublayers(ours), sublayers(widest), strict=True)
    narrower = []
    for quantizer, extreme in [pair for pair in pairs if isinstance(pair[0], FakeQuantize)]:
        low, high = (end.numpy() for end in quantizer.range())
        lowest, highest = (end.numpy() for end in extreme.range())
        assert np.isfinite([low, high]).all()
        assert (low < high).all()
        assert (high - low <= 1.2 * (highest - lowest)).all()  # an asymmetric range is tuned after it was shrunk
        if (high - low < 0.98 * (highest - lowest)).any():
            narrower.append(quantizer.name)
    assert kind == "entropy" or {"image_quantizer", "kernel_quantizer"} <= set(narrower)
    assert np.isfinite(ours.predict(x, verbose=0)).all()


def test_bits_of_the_quantizer_decide_where_an_activation_is_cut_off():
    model = zoo.dense()
    x = np.random.default_rng(0).laplace(size=(256, 4)).astype(np.float32)
    few, many = (
        quantizers(compressed(model, x, range_settings={"type": "mse"}, activations={"bits": bits}))["x_quantizer"]
        for bits in (2, 8)
    )
    assert few.scale < 0.5 * many.scale
    assert many.scale <= np.abs(x).max()


@pytest.mark.parametrize("kind", ["mse", "entropy"])
def test_an_operation_without_a_grid_is_refused(kind):
    with pytest.raises(ConfigError, match=r"Expected: a quantizer\. Received: .* no grid"):
        RangeInitializer(type=kind).estimator(3, of_weights=False, quantizer=BinaryActivation())


@pytest.mark.parametrize("kind", TYPES)
def test_the_schema_lists_every_type(kind):
    choices = json_schema()["$defs"]["RangeInitializer"]["properties"]["type"]["enum"]
    assert kind in choices
    assert len(choices) == len(TYPES)


def test_zero_samples_leave_the_ranges_unmeasured():
    model = zoo.dense()
    with pytest.warns(UserWarning, match="no measured range"):
        found = ranges(compressed(model, zoo.samples(model), range_settings={"num_init_samples": 0}))
    assert {high for _, high in found.values()} == {6.0}


def test_float16_activations_are_measured():
    model = keras.Sequential([keras.Input((4,), name="x"), layers.Dense(3, dtype="mixed_float16", name="a")])
    model.add(layers.Dense(2, dtype="mixed_float16", name="b"))
    found = ranges(compressed(model, zoo.samples(model)))
    assert 0 < found["a_quantizer"][1] < 6.0


def test_an_error_in_the_data_leaves_the_quantizers_on():
    model = zoo.dense()
    controller, quantized = zoo.compress(model)
    before = zoo.predict(quantized, zoo.samples(model))[0]

    def breaking():
        yield zoo.samples(model, 40)
        raise KeyError("the user's own")

    with pytest.raises(KeyError, match="own"):
        initialize(controller.parts, quantized, take(model), Dataset(breaking))
    assert all(quantizer._observer is None for quantizer in quantizers(quantized).values())
    np.testing.assert_array_equal(zoo.predict(quantized, zoo.samples(model))[0], before)


@pytest.mark.parametrize("kind", ["min_max", "mean_min_max", "percentile", "threesigma", "mse", "entropy"])
def test_ranges_that_are_not_finite_are_an_error_that_names_the_layer(kind):
    logarithm = layers.Lambda(lambda values: tf.math.log(values), name="logarithm")
    stack = [layers.Dense(4, "relu"), logarithm, layers.Dense(2), layers.Dense(2)]
    model = keras.Sequential([keras.Input((3,), name="x"), *stack])
    settings = {"algorithm": "quantization", "initializer": {"range": {"type": kind}}}
    data = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    message = (
        r"'logarithm' computes NaN or infinite values.*Expected: finite.*Received: such values in [1-8] of 8 samples"
    )
    with pytest.raises(DataError, match=message):
        create_compressed_model(model, register_default_init_args({"compression": settings}, data))
