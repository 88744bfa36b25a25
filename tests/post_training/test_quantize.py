"""quantize: a copy that computes nearly the same, whatever the model and the form of the data, and that can be used on."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.layers import AsymmetricFakeQuantize, SymmetricFakeQuantize
from tests import zoo
from tests.post_training import models

layers = keras.layers


def lstm():
    """Functional: words through an embedding and a recurrent layer with three weights."""
    words = keras.Input((5,), dtype="int32", name="words")
    state = layers.LSTM(6, name="lstm")(layers.Embedding(10, 4, name="embedding")(words))
    return keras.Model(words, layers.Dense(2, name="out")(state), name="lstm_net")


KINDS = {
    **{
        kind: zoo.MODELS[kind]
        for kind in ("residual", "nested", "shared_layer", "dicts", "two_outputs", "odd_convolutions")
    },
    **{kind: zoo.MODELS[kind] for kind in ("recurrent", "deferred", "operators", "slashed_names")},
    "lstm": lstm,
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_model_is_quantized_and_the_original_stays_as_it_was(kind):
    model = KINDS[kind]()
    inputs = zoo.samples(model, 32)
    before, config, expected = models.numbers(model), model.get_config(), zoo.predict(model, inputs)
    quantized = kc.quantize(model, inputs)
    models.assert_equal_numbers(models.numbers(model), before)
    assert model.get_config() == config
    assert type(quantized) is type(model)
    assert quantized.output_names == model.output_names
    assert models.wrapped(quantized)
    for ours, theirs in zip(zoo.predict(quantized, inputs), expected, strict=True):
        assert 0 < np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()


def test_a_model_in_half_precision_stays_so():
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = zoo.convolution()
    finally:
        keras.mixed_precision.set_global_policy(policy)
    inputs = zoo.samples(model, 16).astype(np.float32)
    quantized = kc.quantize(model, inputs)
    [ours], [theirs] = zoo.predict(quantized, inputs), zoo.predict(model, inputs)
    assert ours.dtype == theirs.dtype == np.float16
    assert 0 < np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()
    assert set(models.wrapped(quantized)) == {"conv", "out"}


def test_a_model_with_nothing_to_quantize_comes_back_as_a_copy():
    x = keras.Input((4,), name="x")
    model = keras.Model(x, layers.Softmax(name="softmax")(x))
    quantized = kc.quantize(model, zoo.samples(model))
    assert quantized is not model
    assert models.quantizer_numbers(quantized) == {}
    zoo.assert_same_predictions(quantized, model, zoo.samples(model))


def test_it_is_compiled_if_the_original_is_and_can_be_trained_on_saved_and_loaded(tmp_path):
    model = zoo.convolution()
    assert kc.quantize(model, zoo.samples(model)).optimizer is None
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    inputs = zoo.samples(model, 16)
    targets = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    quantized = kc.quantize(model, inputs)
    assert quantized.optimizer.get_config() == model.optimizer.get_config()
    before = models.numbers(quantized)
    history = quantized.fit(inputs, targets, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert "mae" in history
    after = models.numbers(quantized)
    for name in ("layer.kernel", "weight_ops.0.scale"):
        assert np.any(after["conv", name] != before["conv", name])
    assert after["relu_quantizer", "scale"] != before["relu_quantizer", "scale"]
    quantized.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    zoo.assert_same_predictions(loaded, quantized, inputs)
    loaded.fit(inputs, targets, verbose=0)


@pytest.mark.parametrize("suffix", ["onnx", "xml", "tflite", "pb"])
def test_it_is_exported_with_a_clean_audit(suffix, tmp_path):
    model = zoo.convolution()
    inputs = zoo.samples(model, 16)
    quantized = kc.quantize(model, inputs)
    report = kc.export_model(quantized, tmp_path / f"model.{suffix}", data=inputs)
    assert report.problems == []
    assert {row.layer for row in report.weights} == {"conv", "out"}


# The form of the data


class Batches(keras.utils.Sequence):
    def __init__(self, arrays, size):
        self._arrays, self._size = arrays, size

    def __len__(self):
        return -(-len(self._arrays[0]) // self._size)

    def __getitem__(self, index):
        return tuple(array[index * self._size : (index + 1) * self._size] for array in self._arrays)


def cut(array, size):
    return [array[start : start + size] for start in range(0, len(array), size)]


FORMS = {
    "array and targets": lambda x, y: (x, y),
    "dict": lambda x, y: {"image": x},
    "dict and targets": lambda x, y: ({"image": x}, y),
    "tensor": lambda x, y: tf.constant(x),
    "list of batches": lambda x, y: cut(x, 7),
    "list of batches and targets": lambda x, y: list(zip(cut(x, 16), cut(y, 16), strict=True)),
    "list of samples": lambda x, y: list(x),
    "tf.data batched": lambda x, y: tf.data.Dataset.from_tensor_slices((x, y)).batch(9),
    "tf.data unbatched": lambda x, y: tf.data.Dataset.from_tensor_slices(x),
    "function": lambda x, y: lambda: iter(cut(x, 5)),
    "generator": lambda x, y: (part for part in cut(x, 11)),
    "Sequence": lambda x, y: Batches((x, y), 8),
    "Dataset": lambda x, y: kc.Dataset([{"pixels": part} for part in cut(x, 4)], lambda element: element["pixels"]),
    "another order": lambda x, y: x[::-1],
}


@pytest.fixture(scope="module")
def by_array():
    """A model, random samples with targets, and the model quantized with them as an array."""
    generator = np.random.default_rng(8)
    inputs = generator.normal(size=(50, 8, 8, 3)).astype(np.float32)
    model = zoo.convolution()
    return model, inputs, np.zeros((50, 3), np.float32), kc.quantize(model, inputs)


@pytest.mark.parametrize("name", FORMS)
def test_data_in_every_form_give_the_same_numbers(name, by_array):
    model, inputs, targets, expected = by_array
    quantized = kc.quantize(model, FORMS[name](inputs, targets))
    models.assert_equal_numbers(models.quantizer_numbers(quantized), models.quantizer_numbers(expected))
    if name == "another order":  # the last quarter judges what the others have corrected
        return
    for key, value in models.numbers(quantized).items():
        np.testing.assert_allclose(value, models.numbers(expected)[key], rtol=1e-5, atol=1e-6, err_msg=str(key))


def test_several_inputs_come_as_a_tuple_a_list_or_a_dict():
    model = zoo.shared_layer()
    first, second = zoo.samples(model, 40)
    expected = models.numbers(kc.quantize(model, [first, second]))
    forms = [
        ((first, second), np.zeros(40)),
        {"second": second, "first": first},
        list(zip(first, second, strict=True)),
        tf.data.Dataset.from_tensor_slices({"first": first, "second": second}).batch(16),
    ]
    for form in forms:
        models.assert_equal_numbers(models.numbers(kc.quantize(model, form)), expected)


def test_no_more_samples_count_than_the_subset():
    model = zoo.dense()
    inputs = zoo.samples(model, 40)
    inputs[10] *= 50
    some = kc.quantize(model, inputs[:10])
    read = []

    def counted():
        for row in inputs:
            read.append(row)
            yield row

    subset = kc.quantize(model, counted, subset_size=np.int64(10))
    models.assert_equal_numbers(models.quantizer_numbers(subset), models.quantizer_numbers(some))
    assert len(read) == 40 + 10  # up to 64 behind the subset judge corrections
    more = models.activation_quantizers(kc.quantize(model, inputs, subset_size=11))["x_quantizer"]
    assert float(more.scale) > 5 * float(models.activation_quantizers(some)["x_quantizer"].scale)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((0, 4), np.float32), "empty"),
        (np.full((3, 4), np.nan), "input 'x' hold NaN"),
        (np.zeros((3, 5)), r"input 'x' have the wrong shape. Expected: \(batch, 4\)"),
        (3, "Calibration data must be"),
        ({"y": np.zeros((3, 4))}, "no entry for input 'x'"),
    ],
    ids=["empty", "NaN", "shape", "number", "name"],
)
def test_data_that_do_not_fit_are_refused(data, message):
    with pytest.raises(kc.DataError, match=message):
        kc.quantize(zoo.dense(), data)


# Parameters


def quantize(model=None, **options):
    model = model or zoo.convolution()
    return kc.quantize(model, zoo.samples(model, 16), **options)


def test_presets_choose_the_quantizers_of_activations():
    kinds = {
        preset: {type(op) for op in models.activation_quantizers(quantize(preset=preset)).values()}
        for preset in ("performance", "mixed")
    }
    assert kinds == {"performance": {SymmetricFakeQuantize}, "mixed": {AsymmetricFakeQuantize}}
    assert {type(op) for op in models.activation_quantizers(quantize(model_type="transformer")).values()} == {
        AsymmetricFakeQuantize
    }


def test_bits_outputs_and_half_ranges_are_those_asked_for():
    advanced = {
        "weights_quantization_params": {"num_bits": 4, "per_channel": False},
        "activations_quantization_params": {"num_bits": 6},
        "quantize_outputs": True,
    }
    quantized = quantize(advanced_parameters=advanced)
    [weight] = models.wrapped(quantized)["conv"].weight_ops
    assert (weight.num_bits, weight.per_channel) == (4, False)
    activations = models.activation_quantizers(quantized)
    assert {op.num_bits for op in activations.values()} == {6}
    assert "out_quantizer" in activations
    fixed = models.wrapped(quantize(advanced_parameters={"overflow_fix": "first_layer_only"}))
    assert {path: layer.weight_ops[0].half_range for path, layer in fixed.items()} == {"conv": True, "out": False}
    assert not any(layer.weight_ops[0].half_range for layer in models.wrapped(quantize()).values())


def test_ranges_are_found_as_asked_for():
    model = zoo.dense()
    inputs = zoo.samples(model, 16)

    def scale(**how):
        options = {"advanced_parameters": {"activations_range_estimator_params": how}}
        return float(models.activation_quantizers(quantize(model, **options))["x_quantizer"].scale)

    assert scale(type="min_max") == pytest.approx(np.abs(inputs).max())
    ends = {
        "min": {"statistics_type": "min", "aggregator_type": "mean"},
        "max": {"statistics_type": "max", "aggregator_type": "mean"},
    }
    assert scale(**ends) == pytest.approx(max(inputs.max(axis=1).mean(), -inputs.min(axis=1).mean()), rel=1e-5)


@pytest.mark.filterwarnings("ignore:A correction that was asked for")  # statistics of a random network
@pytest.mark.extended
def test_each_correction_changes_what_it_corrects_and_nothing_else():
    model = zoo.residual()
    weights = {"weights_quantization_params": {"num_bits": 3}, "batch_norm_adaptation": 0}
    plain = models.numbers(quantize(model, advanced_parameters={**weights, "disable_bias_correction": True}))

    def changed(fast=True, **advanced):
        found = models.numbers(quantize(model, fast_bias_correction=fast, advanced_parameters={**weights, **advanced}))
        return {key for key in plain if np.any(found[key] != plain[key])}

    biases = {(layer, "layer.bias") for layer in ("stem", "body", "out")}
    assert changed() == changed(fast=False) == biases
    kernels = {(layer, "layer.kernel") for layer in ("stem", "body", "out")}
    assert changed(adaptive_rounding={"steps": 20}) == kernels
    statistics = {(layer, name) for layer in ("stem_norm", "body_norm") for name in ("moving_mean", "moving_variance")}
    assert changed(disable_bias_correction=True, batch_norm_adaptation=16) == statistics


@pytest.mark.extended
def test_corrections_bring_the_means_of_the_outputs_nearer():
    model = models.chain(length=4)
    inputs = zoo.samples(model, 200)
    expected = zoo.predict(model, inputs)[0].mean(axis=0)

    def error(**options):
        advanced = {"weights_quantization_params": {"num_bits": 3}, **options.pop("advanced", {})}
        quantized = kc.quantize(model, inputs, advanced_parameters=advanced, **options)
        return np.abs(zoo.predict(quantized, inputs)[0].mean(axis=0) - expected).max()

    plain = error(advanced={"disable_bias_correction": True})
    assert error(fast_bias_correction=False) < 0.5 * plain
    assert error() < plain


def test_equalized_channels_help_ranges_per_tensor():
    model = models.chain(bad=["d1"], length=3, convolutions=True)
    inputs = zoo.samples(model, 64)
    expected = zoo.predict(model, inputs)

    def error(**advanced):
        return models.relative_error(
            zoo.predict(kc.quantize(model, inputs, advanced_parameters=advanced), inputs), expected
        )

    assert error(disable_channel_alignment=False) < 0.01 < error()


@pytest.mark.parametrize("mode", ["fp8_e4m3", 1])
def test_eight_bit_floats_are_refused(mode):
    with pytest.raises(
        kc.ConfigError, match=r"'mode' cannot be honoured.*Expected: mode=None\. Received: mode=.*Leave it out"
    ):
        quantize(mode=mode)


@pytest.mark.parametrize("size", [0, -3, 2.5, "300", None, True])
def test_a_wrong_size_of_the_subset_is_refused(size):
    with pytest.raises(
        kc.ConfigError, match=r"Wrong value for 'subset_size'\. Expected: a whole number, 1 or more\. Received"
    ):
        quantize(subset_size=size)


def test_models_that_cannot_be_quantized_are_refused():
    with pytest.raises(kc.UnsupportedModelError, match=r"Expected: a tf_keras model\. Received: builtins\.str"):
        kc.quantize("model.keras", np.zeros((4, 4)))
    with pytest.raises(kc.UnsupportedModelError, match="is not built"):
        kc.quantize(keras.Sequential([layers.Dense(2)]), np.zeros((4, 4)))
    model = zoo.dense()
    with pytest.raises(kc.UnsupportedModelError, match="already compressed: see layer 'x_quantizer'"):
        kc.quantize(kc.quantize(model, zoo.samples(model)), zoo.samples(model))


def test_the_same_arguments_give_the_same_numbers():
    model = zoo.residual()
    models.assert_equal_numbers(models.numbers(quantize(model)), models.numbers(quantize(model)))
